"""The loss against two costs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.figures.hover import hover_text
from depthweave.reports.figures.palette import colour_of, symbol_3d_of
from depthweave.reports.figures.thinning import thinned
from depthweave.reports.front import complete, front, points_of
from depthweave.reports.records import Record
from depthweave.reports.words import axis_of


class SolidPoint(NamedTuple):
    """One complete record, in the figure's units."""

    trial: int
    x: float
    y: float
    z: float
    fusion: str
    period: int | None
    on_front: bool
    reference: bool
    hover: str


class SolidData(NamedTuple):
    """Complete records alone: a stopped one has no final loss to stand at."""

    x_title: str
    y_title: str
    z_title: str
    points: list[SolidPoint]
    num_thinned: int
    """Records off the front that are not drawn, for there are too many."""


def pareto3d_data(records: Sequence[Record], *, costs: tuple[str, str], quality: str = "perplexity") -> SolidData:
    """The complete records in three objectives; the front is that of the three together."""
    objectives = (*costs, quality)
    finished = complete(records, objectives=objectives)
    on_front = {record.trial for record in front(finished, objectives=objectives)}
    shown = thinned(finished, on_front=on_front)
    values = points_of(shown, objectives=objectives)
    axes = [axis_of(name, values[:, column].tolist()) for column, name in enumerate(objectives)]
    points = [
        SolidPoint(
            trial=record.trial,
            x=float(row[0]) / axes[0].divisor,
            y=float(row[1]) / axes[1].divisor,
            z=float(row[2]) / axes[2].divisor,
            fusion=record.fusion,
            period=None if record.fusion == "none" else record.period,
            on_front=record.trial in on_front,
            reference=record.reference,
            hover=hover_text(record),
        )
        for record, row in zip(shown, values, strict=True)
    ]
    return SolidData(axes[0].title, axes[1].title, axes[2].title, points, len(finished) - len(shown))


def draw_pareto3d(data: SolidData) -> go.Figure:
    """The figure, to be turned with the pointer."""
    figure = go.Figure()
    for on_front, opacity, size in ((False, 0.35, 4), (True, 1.0, 6)):
        points = [point for point in data.points if point.on_front is on_front]
        figure.add_trace(
            go.Scatter3d(
                x=[point.x for point in points],
                y=[point.y for point in points],
                z=[point.z for point in points],
                mode="markers",
                marker={
                    "color": [colour_of(point.fusion) for point in points],
                    "symbol": [symbol_3d_of(point.period) for point in points],
                    "size": size,
                    "opacity": opacity,
                },
                name="front" if on_front else "dominated",
                text=[point.hover for point in points],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.update_layout(
        height=520,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={
            "xaxis": {"title": {"text": data.x_title}},
            "yaxis": {"title": {"text": data.y_title}},
            "zaxis": {"title": {"text": data.z_title}},
            "camera": {"eye": {"x": 1.65, "y": 1.65, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.15}},
        },
    )
    return figure
