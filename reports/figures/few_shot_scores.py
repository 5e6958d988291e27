"""F1 of entities against the number of shots for each head's best architecture, and its difference to a baseline.

Intervals are 95 % over draws. Differences are paired: all heads train on the same sentences of a draw, so that what is
easy or hard in a draw leaves the difference. The figure is that of the paper of DWAtt (arXiv 2209.15168).
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.intervals import Interval, mean_interval
from depthweave.reports.figures.palette import FRONT_LINE, colour_of, dash_of
from depthweave.reports.figures.tagged_trials import REFERENCES, TaggedTrial, final_f1
from depthweave.reports.formatting import plural

_APART = 0.035
"""Distance of two heads at one size, as a share of the whole axis: intervals would cover each other."""
_HEIGHT_PX = 400


class ScorePoint(NamedTuple):
    """The mean over draws at one size."""

    shots: int
    f1: Interval


class ScoreLine(NamedTuple):
    """One head."""

    head: str
    name: str
    points: list[ScorePoint]
    """By size."""


class Differences(NamedTuple):
    """The heads but the baseline, minus the baseline."""

    baseline: str
    lines: list[ScoreLine]


def score_lines(best: Sequence[TaggedTrial]) -> list[ScoreLine]:
    """Returns the F1 of each head's best trial at each size, with its interval over draws."""
    return [
        ScoreLine(
            trial.head,
            trial.name,
            [
                ScorePoint(shots, mean_interval(list(final_f1(own).values())))
                for shots, own in sorted(trial.scores.items())
            ],
        )
        for trial in best
    ]


def score_differences(best: Sequence[TaggedTrial]) -> Differences | None:
    """Returns the paired differences to `deeper`, or to `last` where there is no deeper; `None` without either.

    A size counts where both were trained on the same draws.
    """
    baseline = next((it for name in REFERENCES for it in best if it.head == name), None)
    if baseline is None:
        return None
    lines = []
    for trial in best:
        points = []
        for shots, own in sorted(trial.scores.items()):
            ends, base = final_f1(own), final_f1(baseline.scores.get(shots, {}))
            pairs = [value - base[draw] for draw, value in ends.items() if draw in base]
            if pairs:
                points.append(ScorePoint(shots, mean_interval(pairs)))
        if trial is not baseline and points:
            lines.append(ScoreLine(trial.head, trial.name, points))
    return Differences(baseline.head, lines) if lines else None


def draw_scores(lines: Sequence[ScoreLine]) -> go.Figure:
    """Returns the figure of F1 in percent."""
    figure = _drawn(lines, title="F1 of entities (%)", unit=" %")
    _, high = _shown_range(lines)
    figure.update_layout(yaxis={"range": [0.0, min(100.0, high)]}, showlegend=True)
    return figure


def draw_score_differences(data: Differences) -> go.Figure:
    """Returns the figure of differences in points, with a line at zero for the baseline."""
    figure = _drawn(
        data.lines, title=f"F1 minus that of {html.escape(data.baseline)} (points)", unit=" points", sign="+"
    )
    figure.update_layout(yaxis={"range": list(_shown_range(data.lines, at_least=(0.0, 0.0)))})
    figure.add_hline(y=0, line={"color": FRONT_LINE, "width": 1.5, "dash": "dash"})
    figure.update_layout(showlegend=True)
    return figure


def _shown_range(lines: Sequence[ScoreLine], *, at_least: tuple[float, float] | None = None) -> tuple[float, float]:
    """Returns a range in percent with all means, and of each interval as much as the means' own spread and a little.

    With two draws an interval can be wider than all values together.
    """
    points = [point.f1 for line in lines for point in line.points]
    means = [100 * it.mean for it in points] + list(at_least or ())
    room = max(5.0, max(means) - min(means))
    low = min(100 * (it.mean if it.low is None else it.low) for it in points)
    high = max(100 * (it.mean if it.high is None else it.high) for it in points)
    pad = 0.04 * room
    return max(min(low, min(means)), min(means) - room) - pad, min(max(high, max(means)), max(means) + room) + pad


def _drawn(lines: Sequence[ScoreLine], *, title: str, unit: str, sign: str = "") -> go.Figure:
    sizes = sorted({point.shots for line in lines for point in line.points})
    # A step on the logarithmic axis; with one size its neighbourhood is the axis.
    step = (sizes[-1] / sizes[0]) ** _APART if len(sizes) > 1 else 1.05
    figure = go.Figure()
    for place, line in enumerate(lines):
        shift = step ** (place - (len(lines) - 1) / 2)
        figure.add_trace(
            go.Scatter(
                x=[point.shots * shift for point in line.points],
                y=[100 * point.f1.mean for point in line.points],
                error_y={
                    "type": "data",
                    "array": [100 * (point.f1.half_width or 0.0) for point in line.points],
                    "thickness": 1.4,
                    "width": 0,
                    "color": colour_of(line.head),
                },
                mode="lines+markers",
                marker={"size": 7, "color": colour_of(line.head)},
                line={"color": colour_of(line.head), "width": 2, "dash": dash_of(line.head)},
                text=[_hover(line, point, sign=sign) for point in line.points],
                hovertemplate=f"%{{text}}{unit}<extra></extra>",
                name=html.escape(line.head),
            )
        )
    figure.update_layout(
        height=_HEIGHT_PX,
        margin={"l": 60, "r": 16, "t": 64, "b": 56},
        xaxis={
            "title": {"text": "shots (log scale)"},
            "type": "log",
            "tickvals": sizes,
            "ticktext": [f"{size:,}" for size in sizes],
        },
        yaxis={"title": {"text": title}},
        hovermode="closest",
    )
    return figure


def _hover(line: ScoreLine, point: ScorePoint, *, sign: str) -> str:
    lines = [html.escape(line.name), f"{point.shots:,} shots, {plural(point.f1.num, 'draw')}"]
    value = f"{100 * point.f1.mean:{sign}.1f}"
    if point.f1.low is not None and point.f1.high is not None:
        value += f" ({100 * point.f1.low:{sign}.1f} to {100 * point.f1.high:{sign}.1f})"
    return "<br>".join([*lines, value])
