"""The fronts of several runs in one plot, for runs whose numbers can be compared."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.front import complete, front
from depthweave.reports.figures.hover import hover_text
from depthweave.reports.figures.palette import FRONT_LINE, colour_of
from depthweave.reports.formatting import axis_of
from depthweave.reports.store.objectives import column_value
from depthweave.reports.store.records import Record

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross")
"""Symbols of the runs. In this figure the colour is the fusion and the symbol is the run."""


class RunFront(NamedTuple):
    """The front of one run in two objectives, by rising cost, in the figure's units."""

    run: str
    xs: list[float]
    ys: list[float]
    fusions: list[str]
    hovers: list[str]


class FrontsData(NamedTuple):
    """All that the figure shows."""

    x_title: str
    y_title: str
    fronts: list[RunFront]


def fronts_data(runs: Mapping[str, Sequence[Record]], *, quality: str, cost: str) -> FrontsData:
    """Returns the fronts of these runs (label to records) in two objectives that can be compared between them."""
    members = {run: front(records, objectives=(cost, quality)) for run, records in runs.items()}
    values = [column_value(it, cost) for own in runs.values() for it in complete(own, objectives=(quality, cost))]
    axis = axis_of(cost, values)
    return FrontsData(
        x_title=axis.title,
        y_title=axis_of(quality, []).title,
        fronts=[
            RunFront(
                run=run,
                xs=[column_value(member, cost) / axis.divisor for member in own],
                ys=[column_value(member, quality) for member in own],
                fusions=[member.fusion for member in own],
                hovers=[f"{html.escape(run)}<br>{hover_text(member)}" for member in own],
            )
            for run, own in members.items()
        ],
    )


def draw_fronts(data: FrontsData) -> go.Figure:
    """Returns the figure: a step line through the members of each front, with a dash and a symbol for each run."""
    figure = go.Figure()
    for index, run in enumerate(data.fronts):
        symbol = _SYMBOLS[index % len(_SYMBOLS)]
        name = html.escape(run.run)
        figure.add_trace(
            go.Scatter(
                x=run.xs,
                y=run.ys,
                mode="lines",
                line={"shape": "hv", "width": 1.5, "color": FRONT_LINE, "dash": _DASHES[index % len(_DASHES)]},
                hoverinfo="skip",
                legendgroup=name,
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=run.xs,
                y=run.ys,
                mode="markers",
                cliponaxis=False,
                marker={"symbol": symbol, "size": 10, "color": [colour_of(fusion) for fusion in run.fusions]},
                text=run.hovers,
                hovertemplate="%{text}<extra></extra>",
                legendgroup=name,
                showlegend=False,
            )
        )
        # The legend has its own trace in a neutral colour, because a marker has the colour of its fusion.
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="lines+markers",
                marker={"symbol": symbol, "size": 9, "color": FRONT_LINE},
                line={"color": FRONT_LINE, "width": 1.5, "dash": _DASHES[index % len(_DASHES)]},
                legendgroup=name,
                name=name,
            )
        )
    figure.update_layout(
        height=400,
        margin={"l": 64, "r": 24, "t": 44, "b": 60},
        showlegend=True,
        xaxis={"title": {"text": data.x_title}},
        yaxis={"title": {"text": data.y_title}},
        hovermode="closest",
    )
    return figure
