"""Learning curves: validation loss against tokens, with a cross at the end of each stopped training."""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
import pyarrow as pa

from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import STATE_WORDS, full_name
from depthweave.reports.store.records import Record

_MAX_FAINT_CURVES = 400
"""The most curves off the front that are drawn; more of them overlap and add megabytes to the page."""
_TOP_QUANTILE = 0.9


class Curve(NamedTuple):
    """One training, without losses that are not finite; `state` says how it ended."""

    trial: int
    name: str
    """Escaped for Plotly's markup."""
    fusion: str
    state: str
    on_front: bool
    tokens: list[int]
    losses: list[float]


class CurvesData(NamedTuple):
    """The curves, with the front last, and the range of losses in which they differ."""

    curves: list[Curve]
    y_range: tuple[float, float]
    num_left_out: int


def curves_data(records: Sequence[Record], *, evaluations: pa.Table, on_front: set[int]) -> CurvesData:
    """Returns the curves of the records with evaluations: all of the front and at most 400 others, evenly chosen."""
    columns = evaluations.select(["trial", "tokens", "loss"]).to_pydict()
    points: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for trial, tokens, loss in zip(columns["trial"], columns["tokens"], columns["loss"], strict=True):
        if loss is not None and math.isfinite(loss):
            points[trial].append((tokens, loss))
    curves = [
        Curve(
            trial=record.trial,
            name=html.escape(full_name(record)),
            fusion=record.fusion,
            state=record.state,
            on_front=record.trial in on_front,
            tokens=[tokens for tokens, _ in sorted(points[record.trial])],
            losses=[loss for _, loss in sorted(points[record.trial])],
        )
        for record in records
        if points.get(record.trial)
    ]
    faint = [curve for curve in curves if not curve.on_front]
    stride = math.ceil(len(faint) / _MAX_FAINT_CURVES) or 1
    kept = [*faint[::stride], *(curve for curve in curves if curve.on_front)]
    return CurvesData(kept, _y_range(kept), len(curves) - len(kept))


def draw_curves(data: CurvesData) -> go.Figure:
    """Returns the figure: members of the front strong, others faint, a cross where a training was stopped."""
    figure = go.Figure()
    for fusion in sorted({curve.fusion for curve in data.curves}):
        for on_front in (False, True):
            curves = [it for it in data.curves if it.fusion == fusion and it.on_front is on_front]
            if curves:
                figure.add_trace(_lines(curves, fusion=fusion, on_front=on_front))
    stopped = [curve for curve in data.curves if curve.state in ("pruned", "diverged", "failed")]
    figure.add_trace(
        go.Scatter(
            x=[curve.tokens[-1] for curve in stopped],
            y=[curve.losses[-1] for curve in stopped],
            mode="markers",
            marker={
                "symbol": "x-thin-open",
                "size": 8,
                "color": [colour_of(curve.fusion) for curve in stopped],
                "line": {"width": 2, "color": [colour_of(curve.fusion) for curve in stopped]},
            },
            text=[f"{curve.name}: {STATE_WORDS.get(curve.state, curve.state)}" for curve in stopped],
            hovertemplate="%{text}<br>%{x:,} tokens, %{y:.3f} nat/token<extra></extra>",
            name="stopped",
        )
    )
    figure.update_layout(
        height=440,
        margin={"l": 64, "r": 24, "t": 16, "b": 60},
        xaxis={"title": {"text": "tokens trained on"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "validation loss (nat/token)"}, "range": list(data.y_range)},
        hovermode="closest",
    )
    return figure


def _lines(curves: Sequence[Curve], *, fusion: str, on_front: bool) -> go.Scatter:
    """Returns the curves in one trace with gaps between them, because hundreds of traces are slow."""
    xs: list[int | None] = []
    ys: list[float | None] = []
    names: list[str] = []
    for curve in curves:
        xs += [*curve.tokens, None]
        ys += [*curve.losses, None]
        names += [f"{curve.name}, trial {curve.trial}"] * (len(curve.tokens) + 1)
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines+markers",
        marker={"size": 4 if on_front else 3},
        line={"color": colour_of(fusion), "width": 2 if on_front else 1},
        opacity=1.0 if on_front else 0.35,
        text=names,
        hovertemplate="%{text}<br>%{x:,} tokens, %{y:.3f} nat/token<extra></extra>",
        name=html.escape(fusion),
        showlegend=on_front,
    )


def _y_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Returns a range without the steep fall at the beginning, where the curves hardly differ."""
    if not curves:
        return (0.0, 1.0)
    later = sorted(loss for curve in curves for loss in (curve.losses[1:] or curve.losses))
    low, high = later[0], later[min(len(later) - 1, int(_TOP_QUANTILE * len(later)))]
    pad = 0.06 * (high - low) or 0.05
    return low - pad, high + pad
