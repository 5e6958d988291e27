"""Weights of a host's layers as heat maps: a row for each head, or for each entity type under one head.

The weights are means over draws. What a weight is depends on the head (`trainers/tagging/layer_weights.py`), so a row
is read by itself and two heads' rows are compared by their form.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

import plotly.graph_objects as go

from depthweave.reports.figures.tagged_trials import TaggedTrial

ALL_WORDS = "all words"
_ROW_PX = 34
_MAX_TEXT_LAYERS = 13
"""With more layers the cells are too narrow for numbers."""
_MAX_NAME = 24
_CHARACTER_PX = 7
_NUMBER_PX = 27
"""Width of a cell for "-0.12"."""
_PHONE_PX = 358
"""Width of the figure on a page of 390 pixels."""


class LayerMap(NamedTuple):
    """A row for each head or type, a column for each layer. A value is `None` where the head does not read a layer."""

    rows: list[str]
    layers: list[int]
    values: list[list[float | None]]


def head_map(best: Sequence[TaggedTrial], *, shots: int) -> LayerMap | None:
    """Returns the weights of all heads at that size, over all words; `None` where no head has weights."""
    rows = {trial.head: _means(trial, shots=shots, entity_type="") for trial in best}
    return _map({name: own for name, own in rows.items() if own})


def type_map(trial: TaggedTrial, *, shots: int) -> LayerMap | None:
    """Returns the weights of a head by entity type, all words first; `None` where it has the same for all."""
    own = trial.weights.get(shots, {})
    types = sorted(name for name in own if name)
    if not types:
        return None
    rows = {ALL_WORDS: _means(trial, shots=shots, entity_type="")}
    return _map(rows | {name: _means(trial, shots=shots, entity_type=name) for name in types})


def draw_layer_map(data: LayerMap, *, by_row: bool) -> go.Figure:
    """Returns the heat map, with numbers where there are few layers. Zero has the page's background colour.

    With `by_row` the strongest colour is each row's own largest weight, else the largest of all.
    """
    largest = [max((abs(value) for value in row if value is not None), default=0.0) for row in data.values]
    limits = [(own if by_row else max(largest)) or 1.0 for own in largest]
    with_text = len(data.layers) <= _MAX_TEXT_LAYERS
    figure = go.Figure(
        go.Heatmap(
            x=list(range(len(data.layers))),
            y=list(range(len(data.rows))),
            z=[
                [None if value is None else value / limit for value in row]
                for row, limit in zip(data.values, limits, strict=True)
            ],
            text=[["" if value is None else f"{value:.2f}" for value in row] for row in data.values],
            texttemplate="%{text}" if with_text else None,
            textfont={"size": 11},
            customdata=[
                [
                    [html.escape(name), layer, "" if value is None else f"{value:.3f}"]
                    for layer, value in zip(data.layers, row, strict=True)
                ]
                for name, row in zip(data.rows, data.values, strict=True)
            ],
            zmin=-1,
            zmax=1,
            zmid=0,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate="%{customdata[0]}, layer %{customdata[1]}<br>weight %{customdata[2]}<extra></extra>",
            showscale=False,
        )
    )
    figure.update_layout(_layout(data))
    return figure


def _layout(data: LayerMap) -> dict[str, Any]:
    """Returns size and axes. `narrow_text` says whether a phone has room for the numbers."""
    step = max(1, -(-len(data.layers) // _MAX_TEXT_LAYERS))
    left, right = 20 + _CHARACTER_PX * max(len(_short(name)) for name in data.rows), 8
    blank = {"showgrid": False, "showline": False, "ticks": ""}
    return {
        "height": 98 + _ROW_PX * len(data.rows),
        "margin": {"l": left, "r": right, "t": 30, "b": 56},
        "meta": {"narrow_text": len(data.layers) * _NUMBER_PX <= _PHONE_PX - left - right},
        "xaxis": {
            "title": {"text": "layer (0 is the embedding)"},
            "tickvals": list(range(0, len(data.layers), step)),
            "ticktext": [str(layer) for layer in data.layers[::step]],
            **blank,
        },
        "yaxis": {
            "tickvals": list(range(len(data.rows))),
            "ticktext": [html.escape(_short(name)) for name in data.rows],
            "autorange": "reversed",
            **blank,
        },
        "hovermode": "closest",
    }


def _means(trial: TaggedTrial, *, shots: int, entity_type: str) -> dict[int, float]:
    own = trial.weights.get(shots, {}).get(entity_type, {})
    return {layer: fmean(values) for layer, values in own.items()}


def _map(rows: dict[str, dict[int, float]]) -> LayerMap | None:
    if not rows:
        return None
    # Every layer has a column, so that it shows which of them a head does not read.
    layers = list(range(max(layer for own in rows.values() for layer in own) + 1))
    return LayerMap(list(rows), layers, [[own.get(layer) for layer in layers] for own in rows.values()])


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
