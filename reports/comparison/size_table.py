"""The sizes of a run in the terminal, and as values for JSON."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from depthweave.reports.analysis.intervals import Interval
from depthweave.reports.analysis.size_text import first_patterns, ranks_text, ranks_title, sizes_sentences
from depthweave.reports.analysis.size_trend import REACH
from depthweave.reports.analysis.sizes import SizedPattern, Sizes
from depthweave.reports.filled_columns import filled_columns
from depthweave.reports.formatting import count_text

_MAX_ROWS = 30


def sizes_view(sizes: Sizes) -> list[RenderableType]:
    """Returns the sentences, the table of patterns at the smallest and largest size, and that of the ranks."""
    shown: list[RenderableType] = [Text(sentence) for sentence in sizes_sentences(sizes)]
    if sizes.patterns:
        shown += ["", _patterns_table(sizes)]
    if len(sizes.patterns) > _MAX_ROWS:
        shown.append(Text(f"{len(sizes.patterns) - _MAX_ROWS} more with --json"))
    if sizes.ranks:
        shown += ["", _ranks_table(sizes)]
    return shown


def sizes_values(sizes: Sizes) -> dict[str, Any]:
    """Returns all that is known of the sizes as values for JSON; differences in nat/token."""
    return {
        "parameters": list(sizes.parameters),
        "tokens_per_parameter": list(sizes.tokens_per_parameter),
        "reach": sizes.reach,
        "patterns": [_pattern_values(it) for it in sizes.patterns],
        "patterns_at_one_size": sizes.num_single,
        "ranks": [{**it._asdict(), "verdict": it.verdict} for it in sizes.ranks],
    }


def _patterns_table(sizes: Sizes) -> Table:
    ends = (sizes.parameters[0], sizes.parameters[-1])
    patterns = first_patterns(sizes, _MAX_ROWS)
    heads, rows = filled_columns(
        (*map(count_text, ends), "doubling", f"line {count_text(sizes.reach)}", "verdict"),
        [[*map(_cell, (*map(it.at, ends), it.slope, it.at_reach)), it.verdict] for it in patterns],
    )
    # Without padding between columns it fits 80 columns.
    table = _table(padding=0)
    table.add_column("pattern, blocks", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="left" if head == "verdict" else "right", no_wrap=True)
    for pattern, row in zip(patterns, rows, strict=True):
        table.add_row(pattern.name if pattern.depth is None else f"{pattern.name} {pattern.depth}", *row)
    table.caption = f"loss minus plain's, nat/token ± 95 %; line: at {REACH} times the largest size"
    table.caption_justify = "left"
    return table


def _ranks_table(sizes: Sizes) -> Table:
    heads, rows = filled_columns(
        ("sizes", "patterns", "tau", "95 % interval", ""),
        [
            [f"{count_text(it.smaller)}/{count_text(it.larger)}", str(it.num), *ranks_text(it), it.verdict]
            for it in sizes.ranks
        ],
    )
    table = _table()
    table.add_column("order of patterns", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for ranks, row in zip(sizes.ranks, rows, strict=True):
        table.add_row(ranks_title(ranks), *row)
    return table


def _cell(interval: Interval | None) -> str:
    """Returns mean and half width, "-0.042±.006"; the mean alone with one seed, nothing for `None`."""
    if interval is None:
        return ""
    mean = f"{interval.mean:+.3f}"
    return mean if interval.half_width is None else f"{mean}±{f'{interval.half_width:.3f}'.removeprefix('0')}"


def _pattern_values(pattern: SizedPattern) -> dict[str, Any]:
    return {
        "fusion": pattern.fusion,
        "name": pattern.name,
        "depth": pattern.depth,
        "points": [{"parameters": it.parameters, **_interval_values(it.difference)} for it in pattern.points],
        "slope": pattern.slope and _interval_values(pattern.slope),
        "at_reach": pattern.at_reach and _interval_values(pattern.at_reach),
        "curvature": pattern.curvature and _interval_values(pattern.curvature),
        "verdict": pattern.verdict,
        "why": pattern.why,
    }


def _interval_values(interval: Interval) -> dict[str, float | None]:
    return {"num_seeds": interval.num, "mean": interval.mean, "low": interval.low, "high": interval.high}


def _table(*, padding: int = 1) -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, padding, 0, 0), pad_edge=False, show_edge=False)
