"""When each trial ran, in one row for each worker as far as the records show it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import plotly.graph_objects as go

from depthweave.reports.analysis.source_runs import trained_here
from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import STATE_WORDS, duration_text, full_name, plural
from depthweave.reports.store.records import Record

_ROW_PX = 16
_MAX_HEIGHT_PX = 560
MAX_SPANS = 1_000
"""The most trials that are drawn."""
_PAUSED_BELOW = 0.8
"""A trial that worked for less than this share of its span was paused in between."""


class Span(NamedTuple):
    """One trial, in seconds after the first trial's start."""

    trial: int
    name: str
    fusion: str
    state: str
    row: int
    begin_s: float
    end_s: float
    paused: bool


class TimelineData(NamedTuple):
    """The spans, and what the workers did with their time."""

    spans: list[Span]
    hosts: list[str]
    """The host of each row."""
    elapsed_s: float
    mean_running: float
    """The mean number of trials at work at a time."""
    num_left_out: int
    """Spans that are left out because there are too many."""
    shares: dict[str, float]
    """Shares of the trials' working time: training, evaluating, measuring and other."""


def timeline_data(records: Sequence[Record]) -> TimelineData:
    """Assigns the trials to rows greedily: a trial takes the first row of its host that is free when it starts.

    A record has its start, its end and its working time, but not its worker. A trial that was paused keeps its row, so
    there can be more rows than workers. Records of other runs are left out.
    """
    records = trained_here(records)
    if not records:
        return TimelineData([], [], 0.0, 0.0, 0, {})
    first = min(it.started_at for it in records)
    last = max(it.finished_at for it in records)
    free: list[tuple[str, datetime]] = []
    spans = []
    for record in sorted(records, key=lambda it: (it.host, it.started_at, it.trial)):
        begin, host = record.started_at, record.host
        row = next((place for place, (own, at) in enumerate(free) if own == host and at <= begin), len(free))
        if row == len(free):
            free.append((record.host, record.finished_at))
        free[row] = (record.host, record.finished_at)
        length = (record.finished_at - record.started_at).total_seconds()
        spans.append(
            Span(
                trial=record.trial,
                name=full_name(record),
                fusion=record.fusion,
                state=record.state,
                row=row,
                begin_s=(record.started_at - first).total_seconds(),
                end_s=(record.finished_at - first).total_seconds(),
                paused=record.wall_s < _PAUSED_BELOW * length,
            )
        )
    elapsed, worked = (last - first).total_seconds(), sum(it.wall_s for it in records)
    parts = {
        "training": sum(it.train_s for it in records),
        "evaluating": sum(it.evaluation_s for it in records),
        "measuring": sum(it.measure_s for it in records),
    }
    parts["other work"] = max(0.0, worked - sum(parts.values()))
    shares = {name: seconds / worked for name, seconds in parts.items()} if worked else {}
    kept = spans[:: -(-len(spans) // MAX_SPANS)]
    mean_running = worked / elapsed if elapsed else 0.0
    return TimelineData(kept, [host for host, _ in free], elapsed, mean_running, len(spans) - len(kept), shares)


def timeline_sentence(data: TimelineData) -> str:
    """Returns how many trials ran at a time and what they spent their time on."""
    if not data.spans or not data.shares:
        return ""
    shares = ", ".join(f"{100 * share:.0f} % {name}" for name, share in data.shares.items())
    num = len(data.spans) + data.num_left_out
    return (
        f"{plural(num, 'trial')} in {duration_text(data.elapsed_s)}, with {data.mean_running:.2f} at work at a time on "
        f"average. Their time went into: {shares}."
    )


def draw_timeline(data: TimelineData) -> go.Figure:
    """Returns the figure: a bar from start to end of each trial, faint if it was paused in between."""
    figure = go.Figure()
    divisor, unit = (60.0, "min") if data.elapsed_s < 7200 else (3600.0, "h")
    num_rows = len(data.hosts)
    height = min(_MAX_HEIGHT_PX, 80 + _ROW_PX * num_rows)
    thick = max(2.0, min(10.0, 0.62 * (height - 80) / max(1, num_rows)))
    for fusion in sorted({span.fusion for span in data.spans}):
        for paused in (False, True):
            spans = [span for span in data.spans if span.fusion == fusion and span.paused is paused]
            if not spans:
                continue
            xs: list[float | None] = []
            ys: list[int | None] = []
            names: list[str] = []
            for span in spans:
                xs += [round(span.begin_s / divisor, 4), round(span.end_s / divisor, 4), None]
                ys += [span.row, span.row, None]
                state = STATE_WORDS.get(span.state, span.state)
                names += [f"{html.escape(span.name)}, trial {span.trial}: {html.escape(state)}"] * 3
            figure.add_trace(
                go.Scatter(
                    x=xs,
                    y=ys,
                    mode="lines",
                    line={"color": colour_of(fusion), "width": thick},
                    opacity=0.3 if paused else 0.9,
                    text=names,
                    hovertemplate="%{text}<br>%{x:.2f} " + unit + "<extra></extra>",
                    name=html.escape(fusion),
                )
            )
    several = len(set(data.hosts)) > 1
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 24, "t": 8, "b": 54},
        xaxis={"title": {"text": f"time since the start of the first trial ({unit})"}, "rangemode": "tozero"},
        yaxis={
            "range": [num_rows - 0.4, -0.6],
            "showgrid": False,
            "tickvals": list(range(num_rows)) if several else [],
            "ticktext": [html.escape(host) for host in data.hosts] if several else [],
            "title": {"text": "" if several else "workers"},
        },
        hovermode="closest",
    )
    return figure
