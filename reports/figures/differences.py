"""Differences in loss to the plain architecture of the same depth and budget, paired by seed, with 95 % intervals."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.verdicts import MIN_SEEDS, Verdict, is_settled_difference
from depthweave.reports.figures.palette import FRONT_LINE, colour_of
from depthweave.reports.formatting import full_name, plural, show
from depthweave.reports.store.records import Record

MAX_ROWS = 40


class DifferenceRow(NamedTuple):
    """The difference of one architecture in nat/token; below zero it is better than plain."""

    name: str
    fusion: str
    mean: float
    low: float
    high: float
    num_seeds: int
    settled: bool
    """At least five fresh seeds, and an interval that excludes zero."""


def differences_data(records: Sequence[Record], *, verdicts: Mapping[str, Verdict]) -> list[DifferenceRow]:
    """Returns the differences that have an interval, the lowest first. The records are averaged over seeds."""
    found = []
    several_budgets = len({record.budget for record in records}) > 1
    for record in records:
        verdict = verdicts.get(record.architecture_id) if record.state == "complete" else None
        difference = verdict.difference if verdict else None
        if verdict is None or difference is None or difference.low is None or difference.high is None:
            continue
        plain = verdicts.get(verdict.plain_id or "")
        num_diverged = verdict.num_diverged + (0 if plain is None else plain.num_diverged)
        found.append(
            DifferenceRow(
                name=full_name(record) + (f", {show('parameters', record.budget)}" if several_budgets else ""),
                fusion=record.fusion,
                mean=difference.mean,
                low=difference.low,
                high=difference.high,
                num_seeds=difference.num,
                settled=is_settled_difference(difference, num_diverged=num_diverged),
            )
        )
    return sorted(found, key=lambda it: (it.mean, it.name))


def differences_sentence(data: Sequence[DifferenceRow]) -> str:
    """Returns how many of the differences are settled."""
    if not data:
        return (
            "No difference to plain has an interval, because no two architectures share several fresh seeds: not "
            "settled. depthweave confirm trains the front with more seeds."
        )
    settled = sum(it.settled for it in data)
    count = f"Of {plural(len(data), 'difference')} to plain, {settled} {'is' if settled == 1 else 'are'} settled"
    return f"{count}: at least {MIN_SEEDS} fresh seeds and an interval that excludes zero."


def draw_differences(data: Sequence[DifferenceRow]) -> go.Figure:
    """Returns the figure: a row for each of the 40 lowest differences, with a filled marker if it is settled."""
    figure, data = go.Figure(), data[:MAX_ROWS]
    names = [html.escape(it.name) for it in data]
    for fusion in sorted({it.fusion for it in data}):
        rows = [(place, it) for place, it in enumerate(data) if it.fusion == fusion]
        figure.add_trace(
            go.Scatter(
                x=[it.mean for _, it in rows],
                y=[place for place, _ in rows],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [it.high - it.mean for _, it in rows],
                    "arrayminus": [it.mean - it.low for _, it in rows],
                    "thickness": 1.4,
                    "width": 0,
                    "color": colour_of(fusion),
                },
                mode="markers",
                marker={
                    "size": 9,
                    "color": colour_of(fusion),
                    "symbol": ["circle" if it.settled else "circle-open" for _, it in rows],
                    "line": {"width": 1.6},
                },
                text=[f"{names[place]}<br>{plural(it.num_seeds, 'fresh seed')}" for place, it in rows],
                hovertemplate="%{text}<br>%{x:+.4f} nat/token<extra></extra>",
                name=html.escape(fusion),
            )
        )
    figure.add_vline(x=0, line={"color": FRONT_LINE, "width": 1, "dash": "dash"})
    figure.update_layout(
        height=90 + 24 * len(data),
        margin={"l": 150, "r": 24, "t": 8, "b": 54},
        xaxis={"title": {"text": "loss minus plain's (nat/token)"}, "zeroline": False},
        yaxis={
            "tickvals": list(range(len(data))),
            "ticktext": names,
            "range": [len(data) - 0.5, -0.5],
            "showgrid": False,
        },
        hovermode="closest",
    )
    return figure
