"""The loss against one cost: the front as a step line in front of all other points, which are faint."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from depthweave.reports.figures.palette import FRONT_LINE, colour_of, symbol_of
from depthweave.reports.figures.pareto_points import HEIGHT_PX, MARGIN_PX, ParetoData, ParetoPoint


def draw_pareto(data: ParetoData) -> go.Figure:
    """Returns the figure. Its text and background colours come from a template."""
    figure = go.Figure()
    for role, opacity in (("stopped early", 0.5), ("dominated", 0.45)):
        points = [_clipped(it, data.y_range[1]) for it in data.points if it.role == role]
        figure.add_trace(_markers(points, name=role, opacity=opacity))
    xs, ys = zip(*data.step, strict=True) if data.step else ((), ())
    figure.add_trace(
        go.Scatter(
            x=list(xs),
            y=list(ys),
            mode="lines",
            line={"color": FRONT_LINE, "width": 1.5},
            name="front",
            hoverinfo="skip",
        )
    )
    for fusion in sorted({point.fusion for point in data.points}):
        members = [point for point in data.points if point.role == "front" and point.fusion == fusion]
        if members:
            figure.add_trace(_markers(members, name=html.escape(fusion), opacity=1.0))
    references = [point for point in data.points if point.reference]
    figure.add_trace(
        go.Scatter(
            x=[point.x for point in references],
            y=[point.y for point in references],
            mode="markers",
            marker={"symbol": "circle-open", "size": 19, "color": FRONT_LINE, "line": {"width": 1.5}},
            name="reference",
            hoverinfo="skip",
        )
    )
    for label in data.labels:
        figure.add_annotation(
            x=label.x,
            y=label.y,
            text=label.text,
            showarrow=False,
            xshift=label.x_shift_px,
            yshift=label.y_shift_px,
        )
    figure.update_layout(
        height=HEIGHT_PX,
        margin=MARGIN_PX,
        xaxis={"title": {"text": data.x_title}, "range": list(data.x_range)},
        yaxis={"title": {"text": data.y_title}, "range": list(data.y_range)},
        hovermode="closest",
    )
    return figure


def _clipped(point: ParetoPoint, top: float) -> ParetoPoint:
    """Returns the point, moved down to the upper edge: an axis up to it would compress all other points."""
    return point._replace(y=min(point.y, top))


def _symbol(point: ParetoPoint, *, hollow: bool) -> str:
    return symbol_of(point.marker) + ("-open" if hollow and not point.settled else "")


def _markers(points: Sequence[ParetoPoint], *, name: str, opacity: float) -> go.Scatter:
    on_front = opacity == 1.0
    stopped = name == "stopped early"
    marker: dict[str, Any] = {
        "color": [colour_of(point.fusion) for point in points],
        "symbol": ["x-thin-open" if stopped else _symbol(point, hollow=on_front) for point in points],
        "size": 11 if on_front else 8,
        "opacity": opacity,
    }
    if stopped:
        marker["line"] = {"width": 1.6, "color": marker["color"]}
    x_errors, y_errors = None, None
    if on_front:
        x_errors = _errors(points, ends=[(point.x_low, point.x, point.x_high) for point in points])
        y_errors = _errors(points, ends=[(point.y_low, point.y, point.y_high) for point in points])
    return go.Scatter(
        x=[point.x for point in points],
        y=[point.y for point in points],
        error_x=x_errors,
        error_y=y_errors,
        mode="markers",
        cliponaxis=False,
        marker=marker,
        name=name,
        text=[point.hover for point in points],
        hovertemplate="%{text}<extra></extra>",
    )


def _errors(
    points: Sequence[ParetoPoint], *, ends: Sequence[tuple[float | None, float, float | None]]
) -> dict[str, Any] | None:
    """Returns Plotly's error bars from the low to the high end; `None` if no point has an interval."""
    if all(low is None for low, _, _ in ends):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if high is None else max(0.0, high - value) for _, value, high in ends],
        "arrayminus": [0.0 if low is None else max(0.0, value - low) for low, value, _ in ends],
        "thickness": 1,
        "width": 0,
        "color": colour_of(points[0].fusion),
    }
