"""F1 of entities against optimiser steps for each head's best architecture: how fast a head learns."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.intervals import Interval, mean_interval
from depthweave.reports.figures.palette import colour_of, dash_of
from depthweave.reports.figures.tagged_trials import TaggedTrial
from depthweave.reports.formatting import plural

_HEIGHT_PX = 392


class StepLine(NamedTuple):
    """One head at one size: the mean over draws at each evaluation."""

    head: str
    name: str
    steps: list[int]
    f1: list[Interval]


def step_lines(best: Sequence[TaggedTrial], *, shots: int) -> list[StepLine]:
    """Returns the course of each head at that size; none where all trainings have one evaluation."""
    lines = []
    for trial in best:
        at: dict[int, list[float]] = defaultdict(list)
        for by_step in trial.scores.get(shots, {}).values():
            for step, value in by_step.items():
                at[step].append(value)
        if at:
            steps = sorted(at)
            lines.append(StepLine(trial.head, trial.name, steps, [mean_interval(at[step]) for step in steps]))
    return lines if any(len(line.steps) > 1 for line in lines) else []


def highest_f1(best: Sequence[TaggedTrial]) -> float:
    """Returns the highest mean F1 of all courses: one scale for the figures of all sizes."""
    sizes = {shots for trial in best for shots in trial.scores}
    return max((it.mean for shots in sizes for line in step_lines(best, shots=shots) for it in line.f1), default=1.0)


def draw_step_scores(lines: Sequence[StepLine], *, highest: float) -> go.Figure:
    """Returns the figure in percent, up to a little above `highest`."""
    figure = go.Figure()
    for line in lines:
        figure.add_trace(
            go.Scatter(
                x=line.steps,
                y=[100 * it.mean for it in line.f1],
                mode="lines+markers",
                marker={"size": 5, "color": colour_of(line.head)},
                line={"color": colour_of(line.head), "width": 2, "dash": dash_of(line.head)},
                text=[_hover(line, it) for it in line.f1],
                hovertemplate="%{text}<br>%{x:,} steps<extra></extra>",
                name=html.escape(line.head),
            )
        )
    figure.update_layout(
        height=_HEIGHT_PX,
        margin={"l": 60, "r": 16, "t": 64, "b": 56},
        showlegend=True,
        xaxis={"title": {"text": "optimiser steps"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "F1 of entities (%)"}, "range": [0, 106 * highest or 1.0]},
        hovermode="closest",
    )
    return figure


def _hover(line: StepLine, value: Interval) -> str:
    text = f"{100 * value.mean:.1f} %"
    if value.low is not None and value.high is not None:
        text += f" ({100 * value.low:.1f} to {100 * value.high:.1f})"
    return f"{html.escape(line.name)}<br>{text}, {plural(value.num, 'draw')}"
