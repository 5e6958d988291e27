"""Connection weights of one record: a heat map at the end of training, and lines during training.

The colour scale is symmetric-logarithmic, sign(a) log(1 + |a| / 0.01), with zero in the middle. It shows both the own
block's weight near 1 and a weight of a hundredth from a much earlier block.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
import pyarrow as pa

from depthweave.reports.figures.palette import CONNECTION_COLOURS

LINEAR_BELOW = 0.01
_TICKS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)


class WeightMap(NamedTuple):
    """The last weights of a trial: a row for every block, a column for every source.

    A value is `None` where nothing is read. A block without a site has a row of `None`.
    """

    trial: int
    tokens: int
    sites: list[int]
    sources: list[int]
    values: list[list[float | None]]


class Course(NamedTuple):
    """The weight of one connection during training."""

    site: int
    source: int
    kind: str
    """`own block`, `embedding` or `earlier block`."""
    tokens: list[int]
    values: list[float]


def symmetric_log(value: float) -> float:
    """Returns sign(a) log(1 + |a| / 0.01): odd, linear near zero, logarithmic above a hundredth."""
    return math.copysign(math.log1p(abs(value) / LINEAR_BELOW), value)


def weight_map(weights: pa.Table, *, trial: int) -> WeightMap | None:
    """Returns the trial's weights at its last evaluation; `None` if it has none."""
    rows = [row for row in weights.to_pylist() if row["trial"] == trial and math.isfinite(row["value"])]
    if not rows:
        return None
    tokens = max(row["tokens"] for row in rows)
    last = {(row["site"], row["source"]): row["value"] for row in rows if row["tokens"] == tokens}
    # Every block has a row and a column, so that a wiring's period is visible and the cells are squares.
    sources = list(range(max(site for site, _ in last) + 1))
    sites = sources[1:]
    values = [[last.get((site, source)) for source in sources] for site in sites]
    return WeightMap(trial, tokens, sites, sources, values)


def times_norms(data: WeightMap, norms: Sequence[float]) -> WeightMap:
    """Returns the weights times the mean norm of the state that each reads: how much each state adds to the sum.

    `norms` are those of the states 0 to depth. The own block's column has the norm of the block's own state.
    """
    scaled = [
        [None if value is None else value * norms[source] for source, value in zip(data.sources, row, strict=True)]
        for row in data.values
    ]
    return data._replace(values=scaled)


def weight_courses(weights: pa.Table, *, trial: int) -> list[Course]:
    """Returns the trial's connections by site and source, with their weights at each evaluation."""
    points: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for row in weights.to_pylist():
        if row["trial"] == trial and math.isfinite(row["value"]):
            points[row["site"], row["source"]].append((row["tokens"], row["value"]))
    return [
        Course(
            site=site,
            source=source,
            kind="own block" if source == site else "embedding" if source == 0 else "earlier block",
            tokens=[tokens for tokens, _ in sorted(course)],
            values=[value for _, value in sorted(course)],
        )
        for (site, source), course in sorted(points.items())
    ]


def draw_weight_map(data: WeightMap, *, title: str = "weight") -> go.Figure:
    """Returns the heat map. Its colours come from a template, because zero has the page's background colour."""
    largest = max((abs(value) for row in data.values for value in row if value is not None), default=0.0)
    limit = symmetric_log(largest or 1.0)
    ticks = [tick for tick in _TICKS if symmetric_log(tick) <= limit]
    figure = go.Figure(
        go.Heatmap(
            x=data.sources,
            y=data.sites,
            z=[[None if value is None else symmetric_log(value) for value in row] for row in data.values],
            text=[["" if value is None else f"{value:+.4f}" for value in row] for row in data.values],
            zmin=-limit,
            zmax=limit,
            zmid=0,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate="after block %{y}, reads %{x}<br>" + title + " %{text}<extra></extra>",
            colorbar={
                "title": {"text": title},
                "thickness": 12,
                "tickvals": [*(-symmetric_log(tick) for tick in ticks), 0, *map(symmetric_log, ticks)],
                "ticktext": [*(f"−{tick:g}" for tick in ticks), "0", *(f"{tick:g}" for tick in ticks)],
            },
        )
    )
    figure.update_layout(
        height=440,
        margin={"l": 64, "r": 8, "t": 16, "b": 60},
        xaxis={
            "title": {"text": "source (block; 0 is the embedding)"},
            "dtick": _step(data.sources),
            "showgrid": False,
        },
        yaxis={
            "title": {"text": "site (after block)"},
            "autorange": "reversed",
            "dtick": _step(data.sites),
            "showgrid": False,
            "scaleanchor": "x",
            "constrain": "domain",
        },
    )
    return figure


def draw_weight_courses(courses: list[Course]) -> go.Figure:
    """Returns the lines, in one colour each for own block, embedding and earlier blocks."""
    figure = go.Figure()
    for kind, colour in CONNECTION_COLOURS.items():
        xs: list[int | None] = []
        ys: list[float | None] = []
        names: list[str] = []
        for course in courses:
            if course.kind == kind:
                xs += [*course.tokens, None]
                ys += [*course.values, None]
                names += [f"after block {course.site}, reads {course.source}"] * (len(course.tokens) + 1)
        if xs:
            figure.add_trace(
                go.Scatter(
                    x=xs,
                    y=ys,
                    mode="lines+markers",
                    marker={"size": 3},
                    line={"color": colour, "width": 1.2},
                    opacity=0.75,
                    text=names,
                    hovertemplate="%{text}<br>%{x:,} tokens, weight %{y:+.4f}<extra></extra>",
                    name=kind,
                )
            )
    figure.update_layout(
        height=440,
        margin={"l": 64, "r": 16, "t": 36, "b": 60},
        showlegend=True,
        xaxis={"title": {"text": "tokens trained on"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "connection weight"}},
        hovermode="closest",
    )
    return figure


def _step(values: list[int]) -> int:
    """Returns the distance of tick labels in blocks, for at most thirteen labels."""
    return max(1, math.ceil((max(values) - min(values) + 1) / 13))
