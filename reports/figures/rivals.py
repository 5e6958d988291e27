"""Front members with other wirings beside their strided rivals, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from depthweave.reports.analysis.strided_rivals import StridedRival
from depthweave.reports.figures.grid import Cell, Grid, GridRow
from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import full_name, plural, show
from depthweave.reports.store.objectives import column_value
from depthweave.reports.store.records import Record


def rivals_grid(rivals: Sequence[StridedRival], *, quality: str) -> Grid | None:
    """Returns a row for each member with its quality, its rival's, and their difference in loss; `None` without any."""
    if not rivals:
        return None
    rows = [
        GridRow(
            full_name(item.member),
            colour_of(item.member.fusion),
            [_quality(item.member, quality=quality), _rival(item.rival, quality=quality), *_difference(item)],
        )
        for item in rivals
    ]
    return Grid("Against dilation × period", "", ["member", "strided rival", "difference", "settled"], rows)


def _quality(record: Record, *, quality: str) -> Cell:
    return Cell(show(quality, column_value(record, quality)))


def _rival(record: Record, *, quality: str) -> Cell:
    return _quality(record, quality=quality)._replace(more=full_name(record))


def _difference(item: StridedRival) -> list[Cell]:
    if item.difference is None:
        assert item.member.loss is not None
        assert item.rival.loss is not None
        return [Cell(f"{item.member.loss - item.rival.loss:+.3f}", more="the search's seed"), Cell("no")]
    interval = item.difference.interval
    within = "" if interval.low is None else f"{interval.low:+.3f} to {interval.high:+.3f}"
    more = f"{within}, {plural(interval.num, 'seed')}" if within else plural(interval.num, "seed")
    return [Cell(f"{interval.mean:+.3f}", more=more), Cell("yes" if item.difference.settled else "no")]
