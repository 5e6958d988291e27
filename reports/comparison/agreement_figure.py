"""The ratios to plain of one run against another's. If the runs agree, the patterns are on a rising line."""

from __future__ import annotations

import html
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.comparison.agreement import Order, Unit
from depthweave.reports.figures.palette import FRONT_LINE, colour_of, symbol_of
from depthweave.reports.formatting import title_of
from depthweave.reports.wirings import Marker
from depthweave.spaces.plain_names import is_plain_name

DEPTH_SYMBOL = "circle-cross-open"
"""Symbol of a period equal to the depth, which can differ between the runs."""


class AgreementPoint(NamedTuple):
    """A pattern with its difference to plain in each run, in percent."""

    x: float
    y: float
    name: str
    """Escaped for Plotly's markup."""
    fusion: str
    marker: Marker
    """For the symbol; `None` for plain and for a period equal to the depth."""


class AgreementData(NamedTuple):
    """The patterns that both runs have."""

    title: str
    """The objective."""
    x_title: str
    y_title: str
    points: list[AgreementPoint]


def agreement_data(order: Order, *, first: str, second: str) -> AgreementData:
    """Returns the figure's data for one objective and the runs with these labels."""
    points = [
        AgreementPoint(
            x=100 * (item.first - 1),
            y=100 * (item.second - 1),
            name=html.escape(item.unit.name),
            fusion=item.unit.fusion,
            marker=_marker(item.unit),
        )
        for item in order.matched
    ]
    x_title, y_title = (f"against plain in {html.escape(label)} (%)" for label in (first, second))
    return AgreementData(title_of(order.objective).capitalize(), x_title, y_title, points)


def draw_agreement(data: AgreementData) -> go.Figure:
    """Returns the figure: colour by fusion, symbol by period, lines at no difference to plain."""
    figure = go.Figure()
    for fusion in sorted({point.fusion for point in data.points}):
        points = [point for point in data.points if point.fusion == fusion]
        figure.add_trace(
            go.Scatter(
                x=[point.x for point in points],
                y=[point.y for point in points],
                mode="markers",
                cliponaxis=False,
                marker={
                    "color": colour_of(fusion),
                    "symbol": [_symbol(point) for point in points],
                    "size": 11,
                },
                text=[point.name for point in points],
                hovertemplate="%{text}<br>%{x:+.2f} % and %{y:+.2f} %<extra></extra>",
                name=html.escape(fusion),
            )
        )
    for axis in ("x", "y"):
        other = "y" if axis == "x" else "x"
        figure.add_shape(
            type="line",
            **{f"{axis}0": 0, f"{axis}1": 0, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"},
            line={"color": FRONT_LINE, "width": 1, "dash": "dot"},
            layer="below",
        )
    figure.update_layout(
        height=360,
        margin={"l": 64, "r": 16, "t": 40, "b": 60},
        title={"text": data.title, "x": 0, "xref": "paper", "font": {"size": 14}},
        xaxis={"title": {"text": data.x_title}},
        yaxis={"title": {"text": data.y_title}},
        hovermode="closest",
    )
    return figure


def _marker(unit: Unit) -> Marker:
    if unit.rule is None or not unit.rule.is_plain_stride:
        return None if is_plain_name(unit.fusion) else "other"
    return None if unit.rule.period == "depth" else unit.rule.period


def _symbol(point: AgreementPoint) -> str:
    if is_plain_name(point.fusion):
        return symbol_of(None)
    return DEPTH_SYMBOL if point.marker is None else symbol_of(point.marker)
