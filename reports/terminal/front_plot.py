"""The front of a run in a terminal: a table, and below it a small plot for each cost that fits."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.text import Text

from depthweave.reports.analysis.front import complete, front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import axis_of, plural, short_name
from depthweave.reports.store.objectives import column_value, cost_names, searched_quality
from depthweave.reports.store.records import Record
from depthweave.reports.terminal.fusion_marks import marks_of
from depthweave.reports.terminal.scatter import Mark, scatter
from depthweave.reports.terminal.table import held_out_table, view_table
from depthweave.spaces.plain_names import plain_first

_DOMINATED = "·"
_PLOT_COLUMNS = (56, 96)
"""Smallest and largest width of a plot."""
_PLOT_ROWS = 14


def front_view(
    records: Sequence[Record],
    *,
    objectives: Sequence[str],
    columns: int,
    tolerances: Mapping[str, float] | None = None,
) -> RenderableType:
    """Returns the table of the front, and below it plots for as many costs as fit beside each other."""
    view = RunView.of(records, objectives=objectives, tolerances=tolerances)
    costs = [name for name in cost_names(objectives) if complete(records, objectives=[name])]
    if not view.front:
        return Text(f"No complete trial has all objectives yet, so there is no front. {_counts(records)}")
    num = max(1, min(len(costs), columns // _PLOT_COLUMNS[0]))
    width = min(_PLOT_COLUMNS[1], columns // num - 2)
    plots = [front_plot(view, cost=cost, columns=width) for cost in costs[:num]]
    shown: list[RenderableType] = [view_table(view)]
    test = held_out_table(view)
    if test is not None:
        shown += ["", test]
    if plots:
        shown += ["", Columns(plots, padding=(0, 2)), plot_key(records)]
    return Group(*shown)


def front_plot(view: RunView, *, cost: str, columns: int) -> Text:
    """Returns the loss against one cost. The line is the front of the two; labelled marks are on the joint front."""
    quality = searched_quality(view.objectives)
    finished = complete(view.records, objectives=(quality, cost))
    members = {record.trial for record in view.front}
    axis = axis_of(cost, [column_value(record, cost) for record in finished])
    several_depths = len({record.depth for record in finished if record.trial in members}) > 1
    fusion_marks = marks_of(record.fusion for record in view.records)
    marks = []
    # The front is drawn last, on top.
    for record in sorted(finished, key=lambda item: (item.trial in members, -column_value(item, quality))):
        on_front = record.trial in members
        symbol = fusion_marks[record.fusion] if on_front else _DOMINATED
        marks.append(
            Mark(
                x=column_value(record, cost) / axis.divisor,
                y=column_value(record, quality),
                symbol=symbol,
                style=colour_of(record.fusion) if on_front else f"{colour_of(record.fusion)} dim",
                label=_label(record, with_depth=several_depths) if on_front else "",
            )
        )
    step = [
        (column_value(record, cost) / axis.divisor, column_value(record, quality))
        for record in front(finished, objectives=(cost, quality))
    ]
    return scatter(
        marks,
        step=step,
        x_title=axis.title,
        y_title=axis_of(quality, []).title,
        columns=columns,
        rows=_PLOT_ROWS,
    )


def plot_key(records: Sequence[Record]) -> Columns:
    """Returns the key to the marks of the plots. No line breaks between a mark and its meaning."""
    marks = marks_of(record.fusion for record in records)
    names = sorted(marks, key=plain_first)
    entries = [Text.assemble((marks[name], colour_of(name)), f" {name}", no_wrap=True) for name in names]
    entries += [Text(f"{_DOMINATED} dominated", no_wrap=True), Text("─ front of the two", no_wrap=True)]
    return Columns(entries, padding=(0, 3))


def watched_view(
    records: Sequence[Record],
    *,
    objectives: Sequence[str],
    columns: int,
    name: str,
    tolerances: Mapping[str, float] | None = None,
) -> RenderableType:
    """Returns the front, with the run's progress in a line above it."""
    head = Text.assemble((name, "bold"), f"  {_counts(records)}  ", ("Ctrl-C to quit", "dim"))
    return Group(head, "", front_view(records, objectives=objectives, columns=columns, tolerances=tolerances))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows of `front_rows` as CSV with a header; empty without rows."""
    if not rows:
        return ""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: " ".join(value) if isinstance(value, list) else value for name, value in row.items()})
    return sink.getvalue()


def _label(record: Record, *, with_depth: bool) -> str:
    return short_name(record) + (f" ({record.depth})" if with_depth else "")


def _counts(records: Sequence[Record]) -> str:
    finished = sum(record.state == "complete" for record in records)
    return f"{plural(len(records), 'trial')}, {finished:,} complete"
