"""The difference to plain against tokens, one line for each distinct member of the front."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from depthweave.reports.analysis.gain_courses import GainCourse
from depthweave.reports.figures.palette import FRONT_LINE, colour_of
from depthweave.reports.formatting import plural

_HEIGHT_PX = 360


def draw_gain_courses(courses: Sequence[GainCourse]) -> go.Figure:
    """Returns the figure, with a line at zero for plain."""
    figure = go.Figure()
    named: set[str] = set()
    for course in courses:
        name = html.escape(course.name)
        figure.add_trace(
            go.Scatter(
                x=course.tokens,
                y=course.differences,
                mode="lines+markers",
                marker={"size": 5},
                line={"color": colour_of(course.fusion), "width": 2},
                text=[f"{name}, {plural(course.num_seeds, 'seed')}"] * len(course.tokens),
                hovertemplate="%{text}<br>%{x:,} tokens, %{y:+.4f} nat/token<extra></extra>",
                name=html.escape(course.fusion),
                legendgroup=course.fusion,
                showlegend=course.fusion not in named,
            )
        )
        named.add(course.fusion)
    values = [0.0, *(value for course in courses for value in course.differences)]
    pad = 0.06 * (max(values) - min(values)) or 0.01
    figure.update_layout(
        height=_HEIGHT_PX,
        margin={"l": 72, "r": 24, "t": 40, "b": 60},
        showlegend=True,
        xaxis={"title": {"text": "tokens trained on"}, "rangemode": "tozero"},
        yaxis={
            "title": {"text": "loss minus plain's (nat/token)"},
            "range": [min(values) - pad, max(values) + pad],
        },
        hovermode="closest",
    )
    figure.add_hline(y=0, line={"color": FRONT_LINE, "width": 1.5, "dash": "dash"})
    return figure
