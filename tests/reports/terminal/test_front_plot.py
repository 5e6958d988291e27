"""The front in a terminal: table and plot."""

from __future__ import annotations

import csv
import io
import re

from rich.console import Console

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.terminal.front_plot import csv_text, front_plot, front_view
from depthweave.reports.terminal.table import front_rows
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

RECORDS = [trial.record for trial in synthetic_trials()]


def printed(columns: int) -> str:
    sink = io.StringIO()
    Console(file=sink, width=columns).print(front_view(RECORDS, objectives=OBJECTIVES, columns=columns))
    return sink.getvalue()


def test_view_fits_and_has_a_plot_a_cost_where_there_is_room() -> None:
    for columns, plots in ((80, 1), (120, 2), (200, 2)):
        text = printed(columns)
        assert max(map(len, text.splitlines())) <= columns
        assert text.count("validation perplexity") == plots
    assert "forward latency (× reference)" in printed(80)


def test_every_member_of_the_joint_front_is_marked_in_the_colour_of_its_fusion() -> None:
    text = front_plot(RunView.of(RECORDS, objectives=OBJECTIVES), cost="latency", columns=100)
    signs = {"none": "○", "dwa": "●", "dwatt": "▲", "concat": "■"}
    members = front(RECORDS, objectives=OBJECTIVES)
    for fusion in {member.fusion for member in members}:
        assert 1 <= text.plain.count(signs[fusion]) <= sum(member.fusion == fusion for member in members)


def test_csv_has_the_rows_and_columns_of_the_json() -> None:
    rows = front_rows(RECORDS, objectives=OBJECTIVES)
    read = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert [set(row) for row in read] == [set(row) for row in rows]
    assert [float(row["perplexity"]) for row in read] == [row["perplexity"] for row in rows]
    assert [row["selected_by"].split() for row in read] == [row["selected_by"] for row in rows]
    assert csv_text([]) == ""


def test_run_without_a_front_says_so() -> None:
    view = front_view([make_record(state="pruned", perplexity=None)], objectives=OBJECTIVES, columns=80)
    assert "no front" in str(view)
    assert "1 trial, 0 complete" in str(view)


def test_variants_of_a_family_have_marks_of_their_own_and_the_key_names_each() -> None:
    names = ("mudd", "mudd2", "mudd4", "mystery1", "mystery2")
    records = [
        make_record(number, fusion=name, perplexity=4.0 - 0.1 * number, latency=1.0 + 0.1 * number)
        for number, name in enumerate(names)
    ]
    sink = io.StringIO()
    Console(file=sink, width=80).print(front_view(records, objectives=("perplexity", "latency"), columns=80))
    plot, _, key = sink.getvalue().partition("forward latency (× reference)")
    marks = {name: found.group(1) for name in names if (found := re.search(rf"(\S) {name}\b", key))}
    assert len(set(marks.values())) == len(marks) == len(names)
    plot = plot[plot.index("│") :]
    assert all(plot.count(marks[name]) == 1 for name in ("mudd", "mudd2", "mudd4"))
