"""Every complete architecture as a line across its choices and objectives, coloured by its Pareto rank."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.front import complete, pareto_ranks, value_of
from depthweave.reports.figures.palette import RANK_COLOURS
from depthweave.reports.formatting import count_text, full_name, fusion_word, show, title_of
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import family_of_record, shows_wiring
from depthweave.spaces.plain_names import is_plain_name

_MAX_FAINT_LINES = 400
"""The most lines off the front."""
_CHOICES = ("fusion", "family", "dilation", "period", "depth", "budget")
_LAST_RANK = len(RANK_COLOURS) - 1


class ParallelAxis(NamedTuple):
    """One vertical axis, from 0 at the bottom to 1 at the top."""

    title: str
    ticks: list[tuple[float, str]]


class ParallelLine(NamedTuple):
    """One architecture: its height on each axis; `None` if it has no value there."""

    trial: int
    name: str
    rank: int
    heights: list[float | None]


class ParallelData(NamedTuple):
    """The axes from left to right, and the lines with the front last."""

    axes: list[ParallelAxis]
    lines: list[ParallelLine]
    num_left_out: int


def parallel_data(records: Sequence[Record], *, objectives: Sequence[str]) -> ParallelData:
    """Returns all lines of the front and at most 400 others, evenly chosen, without axes that have one value."""
    finished = complete(records, objectives=objectives)
    ranks = pareto_ranks(records, objectives=objectives)
    axes, columns = [], []
    for name in _CHOICES:
        found = _choice_axis(finished, name)
        if found is not None:
            axes.append(found[0])
            columns.append(found[1])
    for name in objectives:
        found = _objective_axis(finished, name)
        if found is not None:
            axes.append(found[0])
            columns.append(found[1])
    lines = [
        ParallelLine(it.trial, full_name(it), ranks[it.trial], [heights[it.trial] for heights in columns])
        for it in finished
    ]
    faint = [line for line in lines if line.rank]
    kept = faint[:: math.ceil(len(faint) / _MAX_FAINT_LINES) or 1]
    shown = [*sorted(kept, key=lambda line: -line.rank), *(line for line in lines if not line.rank)]
    return ParallelData(axes, shown, len(lines) - len(shown))


def draw_parallel(data: ParallelData) -> go.Figure:
    """Returns the figure. Lower is better on every objective."""
    figure = go.Figure()
    for group in range(_LAST_RANK, -1, -1):
        lines = [line for line in data.lines if min(line.rank, _LAST_RANK) == group]
        if not lines:
            continue
        xs: list[float | None] = []
        ys: list[float | None] = []
        names: list[str] = []
        for line in lines:
            for place, height in enumerate(line.heights):
                xs.append(place)
                ys.append(height)
            xs.append(None)
            ys.append(None)
            names += [f"{html.escape(line.name)}, rank {line.rank}"] * (len(line.heights) + 1)
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="lines",
                connectgaps=False,
                line={"color": RANK_COLOURS[group], "width": 2.2 if group == 0 else 1},
                opacity=0.95 if group == 0 else 0.55,
                text=names,
                hovertemplate="%{text}<extra></extra>",
                name="front" if group == 0 else f"rank {group}" + (" and above" if group == _LAST_RANK else ""),
            )
        )
    for place, axis in enumerate(data.axes):
        for height, text in axis.ticks:
            figure.add_annotation(x=place, y=height, text=html.escape(text), showarrow=False, xshift=4, xanchor="left")
    figure.update_layout(
        height=430,
        margin={"l": 24, "r": 64, "t": 40, "b": 60},
        showlegend=True,
        xaxis={
            "tickvals": list(range(len(data.axes))),
            "ticktext": [_wrapped(it.title) for it in data.axes],
            "showline": False,
            "ticks": "",
            "tickangle": 0,
            "range": [-0.15, len(data.axes) - 0.55],
        },
        yaxis={"visible": False, "range": [-0.06, 1.06]},
        hovermode="closest",
    )
    return figure


def _choice_axis(records: Sequence[Record], name: str) -> tuple[ParallelAxis, dict[int, float | None]] | None:
    levels = {it.trial: _level(it, name) for it in records}
    known = sorted({level for level in levels.values() if level is not None}, key=_level_order)
    if len(known) < 2:
        return None
    heights = {level: place / (len(known) - 1) for place, level in enumerate(known)}
    found: dict[int, float | None] = {}
    for trial, level in levels.items():
        # A line without a pattern passes below all patterns.
        found[trial] = -0.04 if level is None else heights[level]
    texts = [(height, count_text(int(level)) if name == "budget" else level) for level, height in heights.items()]
    return ParallelAxis(fusion_word(records) if name == "fusion" else name, texts), found


def _level(record: Record, name: str) -> str | None:
    if name in ("family", "dilation", "period") and not shows_wiring(record):
        return None
    if name == "family":
        return family_of_record(record)
    value = getattr(record, name)
    return None if value is None else str(value)


def _level_order(level: str) -> tuple[int, float, str]:
    return (1, float(level), "") if level.isdigit() else (0 if is_plain_name(level) else 1, 0.0, level)


def _objective_axis(records: Sequence[Record], name: str) -> tuple[ParallelAxis, dict[int, float | None]] | None:
    values = {it.trial: value_of(it, name) for it in records}
    known = [value for value in values.values() if value is not None]
    if not known or min(known) == max(known):
        return None
    low, high = min(known), max(known)
    heights = {trial: None if value is None else (value - low) / (high - low) for trial, value in values.items()}
    ticks = [(share, show(name, _rounded_count(name, low + share * (high - low)))) for share in (0.0, 0.5, 1.0)]
    return ParallelAxis(title_of(name) if name in OBJECTIVES else name, ticks), heights


def _rounded_count(name: str, value: float) -> float:
    return float(round(value)) if name in OBJECTIVES and OBJECTIVES[name].format in ("count", "bytes") else value


def _wrapped(title: str) -> str:
    words, lines = title.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 14 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(html.escape(line) for line in lines)
