"""Quality by dilation and period, and by family of other wirings: tables for each fusion, depth and budget."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from depthweave.reports.analysis.front import value_of
from depthweave.reports.figures.grid import Cell, Grid, GridRow
from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import count_text, full_name, plural, show
from depthweave.reports.store.objectives import QUALITY, column_value
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import family_of_record, marker_of, shows_wiring, wiring_name, wiring_phrase

MAX_GRIDS = 24

_Key = tuple[int, int | None, str]
"""Depth, budget and fusion."""


def pattern_grids(records: Sequence[Record], *, quality: str = QUALITY) -> list[Grid]:
    """Returns tables of periods by dilations, coloured by the difference in loss to plain of the same depth and budget.

    Wirings other than k x p are grouped by family, in a table of their own. All tables share one colour scale, up to
    the largest difference of any cell. Cells without a plain architecture have no colour. Heads on a host are compared
    with `last`. Cells show the `quality`. There are at most 24 tables, those of the smallest depth and budget first.
    The records are averaged over seeds.
    """
    shown = [it for it in records if it.state in ("complete", "pruned")]
    plain = {(it.depth, it.budget): it for it in shown if it.fusion == "none" and it.state == "complete"}
    last = next((it for it in shown if it.fusion == "last" and it.state == "complete"), None)
    cells: dict[_Key, dict[tuple[int, int], Record]] = defaultdict(dict)
    families: dict[_Key, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in shown:
        if marker_of(record) == "other":
            families[record.depth, record.budget, record.fusion][family_of_record(record)].append(record)
        elif shows_wiring(record) and record.dilation is not None and record.period is not None:
            own = cells[record.depth, record.budget, record.fusion]
            place = (record.period, record.dilation)
            # A complete trial replaces a stopped one of the same pattern.
            if place not in own or record.state == "complete":
                own[place] = record
    drawn = [it for own in cells.values() for it in own.values()]
    drawn += [it for own in families.values() for held in own.values() for it in held]
    differences = {
        it.trial: found
        for it in drawn
        if (found := _difference(it, plain.get((it.depth, it.budget), last))) is not None
    }
    largest = max((abs(value) for value in differences.values()), default=0.0)
    several_budgets = len({budget for _, budget, _ in (*cells, *families)}) > 1
    grids = []
    for key in sorted({*cells, *families}, key=lambda key: (key[0], key[1] or 0, key[2])):
        title, colour = _title(key, with_budget=several_budgets), colour_of(key[2])
        if key in cells:
            grids.append(
                _grid(title, cells[key], colour=colour, differences=differences, largest=largest, quality=quality)
            )
        if key in families:
            grids.append(
                _family_grid(
                    title, families[key], colour=colour, differences=differences, largest=largest, quality=quality
                )
            )
    return grids[:MAX_GRIDS]


def _title(key: _Key, *, with_budget: bool) -> str:
    depth, budget, fusion = key
    title = f"{fusion}, {plural(depth, 'block')}"
    return f"{title}, {count_text(budget)}" if with_budget and budget is not None else title


def _grid(
    title: str,
    held: dict[tuple[int, int], Record],
    *,
    colour: str,
    differences: dict[int, float],
    largest: float,
    quality: str,
) -> Grid:
    periods = sorted({period for period, _ in held})
    dilations = sorted({dilation for _, dilation in held})
    rows = [
        GridRow(
            f"p {period}",
            colour,
            [
                _cell(held.get((period, dilation)), differences=differences, largest=largest, quality=quality)
                for dilation in dilations
            ],
        )
        for period in periods
    ]
    return Grid(title, "", [f"k {dilation}" for dilation in dilations], rows)


def _family_grid(
    title: str,
    held: dict[str, list[Record]],
    *,
    colour: str,
    differences: dict[int, float],
    largest: float,
    quality: str,
) -> Grid:
    """Returns the best wiring of each family, with the number of wirings that were tried."""
    rows = []
    for family in sorted(held):
        best = min(
            held[family], key=lambda it: (it.state != "complete", value_of(it, "last_loss") or math.inf, it.trial)
        )
        cell = _cell(best, differences=differences, largest=largest, quality=quality)
        rows.append(
            GridRow(
                family, colour, [cell, Cell(wiring_name(best), tip=wiring_phrase(best)), Cell(str(len(held[family])))]
            )
        )
    return Grid(f"{title}, other wirings", "", ["best", "wiring", "tried"], rows)


def _cell(record: Record | None, *, differences: dict[int, float], largest: float, quality: str) -> Cell:
    if record is None:
        return Cell("")
    if record.state == "pruned":
        return Cell("stopped", tip=f"{full_name(record)}: {record.reason or 'stopped early'}")
    difference = differences.get(record.trial)
    share = difference / largest if difference is not None and largest else None
    more = "" if difference is None else f"{difference:+.3f}"
    return Cell(show(quality, column_value(record, quality)), share, more, full_name(record))


def _difference(record: Record, plain: Record | None) -> float | None:
    if record.state != "complete" or plain is None:
        return None
    own, other = value_of(record, "loss"), value_of(plain, "loss")
    if own is None or other is None:
        return None
    return own - other if math.isfinite(own - other) else None
