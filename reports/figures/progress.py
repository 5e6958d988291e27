"""How the front grew: hypervolume by finished trials and by the tokens that they trained on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go

from depthweave.reports.analysis.front import complete, hypervolume_frac, points_of, reference_point
from depthweave.reports.figures.palette import FUSION_COLOURS
from depthweave.reports.store.records import Record


class ProgressData(NamedTuple):
    """One value for each finished trial of any state, in the order of finishing; records of other runs come first."""

    num_finished: list[int]
    hypervolume_frac: list[float]
    """Share of the box between the run's best values and its reference point, 0 to 1."""
    trials: list[int]
    tokens: list[int]
    """Total tokens of all trials up to this one."""


def progress_data(records: Sequence[Record], *, objectives: Sequence[str]) -> ProgressData:
    """Returns the hypervolume after each trial, with the reference point of the whole run (see `front`)."""
    # Records of other runs were there before the first trial, and cost this run nothing.
    ordered = sorted(records, key=lambda record: (record.taken_from is None, record.finished_at, record.trial))
    counted = complete(ordered, objectives=objectives)
    if not counted:
        return ProgressData([], [], [], [])
    points = points_of(counted, objectives=objectives)
    ideal, reference = points.min(axis=0), reference_point(points)
    with_values = {record.trial for record in counted}
    shares: list[float] = []
    # Keeps only the front so far: the hypervolume of all trials so far would cost more with each trial.
    best = points[:0]
    num_seen = 0
    for record in ordered:
        share = shares[-1] if shares else 0.0
        if record.trial in with_values:
            point = points[num_seen]
            num_seen += 1
            if not (best <= point).all(axis=1).any():
                best = np.vstack([best[(best < point).any(axis=1)], point])
                share = hypervolume_frac(best, ideal=ideal, reference=reference)
        shares.append(share)
    own = [int(record.taken_from is None) for record in ordered]
    tokens = list(itertools.accumulate(record.tokens * mine for record, mine in zip(ordered, own, strict=True)))
    return ProgressData(list(itertools.accumulate(own)), shares, [record.trial for record in ordered], tokens)


def draw_progress(data: ProgressData, *, over: Literal["trials", "tokens"] = "trials") -> go.Figure:
    """Returns the figure: a step up, with a marker, at each trial that improved the front."""
    shares, last = data.hypervolume_frac, len(data.trials) - 1
    steps = [at for at in range(len(shares)) if at in (0, last) or shares[at] != shares[at - 1]]
    over_values = data.num_finished if over == "trials" else data.tokens
    title = "finished trials" if over == "trials" else "tokens trained on, all trials"
    figure = go.Figure(
        go.Scatter(
            x=[over_values[at] for at in steps],
            y=[round(shares[at], 6) for at in steps],
            mode="lines+markers",
            line={"shape": "hv", "width": 1.5, "color": FUSION_COLOURS["dwa"]},
            marker={"size": 4},
            text=[str(data.trials[at]) for at in steps],
            hovertemplate="%{x:,} " + over + " (trial %{text})<br>hypervolume %{y:.3f}<extra></extra>",
            name="hypervolume",
        )
    )
    figure.update_layout(
        height=320,
        margin={"l": 64, "r": 24, "t": 16, "b": 60},
        showlegend=False,
        xaxis={"title": {"text": title}, "rangemode": "tozero"},
        yaxis={"title": {"text": "hypervolume (share of the box)"}, "rangemode": "tozero"},
    )
    return figure
