"""How much of the embedding is left in the input of each block: the cosine of the two, by depth."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import full_name
from depthweave.reports.store.records import Record

MAX_LINES = 40


class CosineLine(NamedTuple):
    """One architecture, with its cosine at each block from the first."""

    trial: int
    name: str
    fusion: str
    cosines: list[float]


def cosines_data(members: Sequence[Record], *, plain: Sequence[Record]) -> list[CosineLine]:
    """Returns the plain architectures and members of the front with recorded cosines, each once and at most 40."""
    shown = {record.trial: record for record in (*plain, *members)}
    return [
        CosineLine(record.trial, full_name(record), record.fusion, json.loads(record.input_cosines))
        for record in shown.values()
        if record.input_cosines
    ][:MAX_LINES]


def norms_of(record: Record) -> list[float] | None:
    """Returns the mean norms of the record's states, the embedding first; `None` if they were not recorded."""
    return list(json.loads(record.state_norms)) if record.state_norms else None


def draw_cosines(data: Sequence[CosineLine]) -> go.Figure:
    """Returns the figure: a line for each architecture, in its fusion's colour."""
    figure = go.Figure()
    for line in data:
        figure.add_trace(
            go.Scatter(
                x=list(range(1, len(line.cosines) + 1)),
                y=line.cosines,
                mode="lines+markers",
                marker={"size": 4},
                line={"color": colour_of(line.fusion), "width": 1.6},
                opacity=0.8,
                hovertemplate=html.escape(line.name) + "<br>block %{x}: %{y:.3f}<extra></extra>",
                name=html.escape(line.name),
            )
        )
    figure.update_layout(
        height=380,
        margin={"l": 64, "r": 24, "t": 16, "b": 60},
        xaxis={"title": {"text": "block"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "cosine of input and embedding"}},
        hovermode="closest",
    )
    return figure
