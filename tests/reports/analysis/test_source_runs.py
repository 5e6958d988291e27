"""Records of other runs in tables, figures, texts and exports: they are named, and cost this run nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from depthweave.reports.analysis.retention import why_absent
from depthweave.reports.analysis.source_runs import (
    origin_run,
    origin_text,
    origin_trial,
    start_line,
    taken_phrase,
    taken_sentence,
    trained_here,
)
from depthweave.reports.export.training import training_of
from depthweave.reports.figures.hover import hover_text
from depthweave.reports.figures.progress import progress_data
from depthweave.reports.figures.timeline import timeline_data
from depthweave.reports.page.page import page_of, render
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.warm_start import (
    WARM_START_FILE,
    SourceOutcome,
    SourceRun,
    WarmStart,
    read_warm_start,
    write_warm_start,
)
from depthweave.reports.terminal.table import front_rows, front_table
from tests.reports.synthetic import RUN_ID, make_record

_SOURCE = SourceRun(
    name="earlier",
    run_id="earlier-0001",
    address="runs/earlier",
    num_records=9,
    taken_over={0: 4, 1: 7},
    differs=("corpus", "recipe (steps)"),
    architectures=({"fusion": "none"},),
    losses=(2.5,),
)


def _records() -> list[Record]:
    taken = make_record(0, taken_from="earlier-0001/trial-00004", loss=1.0, perplexity=2.5, latency=0.9)
    own = [make_record(number, perplexity=3.0 - 0.1 * number, latency=1.0 + 0.1 * number) for number in (1, 2)]
    return [taken, *own]


def test_origin_is_read_back_from_the_record() -> None:
    taken, own = make_record(taken_from=origin_text("a/b-1", 12_345_678)), make_record(5)
    assert (origin_run(taken), origin_trial(taken)) == ("a/b-1", "12345678")
    assert (origin_run(own), origin_trial(own)) == (RUN_ID, "5")
    assert (taken_phrase(taken), taken_phrase(own)) == ("taken over from a/b-1", "")
    # The text of a stranger's file.
    odd = make_record(taken_from="x")
    assert (origin_run(odd), origin_trial(odd)) == ("x", "x")


def test_own_records_are_told_from_others() -> None:
    assert [item.trial for item in trained_here(_records())] == [1, 2]
    assert taken_sentence(_records()) == " 1 record was taken over from earlier-0001 and not trained again."
    assert taken_sentence(_records()[1:]) == ""


def test_start_line_says_what_is_taken_over_and_why_the_rest_is_not() -> None:
    assert start_line(_SOURCE) == (
        "run earlier: 2 records taken over, 1 architecture to learn from (different: corpus and recipe (steps))"
    )
    nothing = dataclasses.replace(_SOURCE, taken_over={}, architectures=(), losses=(), differs=())
    assert start_line(nothing) == "run earlier: 0 records taken over"


def test_figures_count_only_what_this_run_spent() -> None:
    records = _records()
    records[0] = dataclasses.replace(records[0], finished_at=records[2].finished_at.replace(year=2027))
    data = progress_data(records, objectives=("perplexity", "latency"))
    assert data.trials == [0, 1, 2]
    assert data.num_finished == [0, 1, 2]
    assert data.tokens == [0, 400_000, 800_000]
    assert data.hypervolume_frac[0] > 0
    assert sorted(item.trial for item in timeline_data(records).spans) == [1, 2]
    assert timeline_data(records[:1]).spans == []


def test_table_hover_and_export_name_the_run_that_trained_it() -> None:
    records = _records()
    (row, *_) = [item for item in front_rows(records, objectives=("perplexity", "latency")) if item["trial"] == 0]
    assert row["taken_from"] == "earlier-0001/trial-00004"
    caption = str(front_table(records, objectives=("perplexity", "latency")).caption)
    assert f"taken over from earlier-0001: {records[0].architecture_id}" in caption
    assert "taken over" not in str(front_table(records[1:], objectives=("perplexity", "latency")).caption)
    assert "taken over from earlier-0001" in hover_text(records[0])
    assert "taken over" not in hover_text(records[1])
    assert training_of(records[0], spec_yaml="{}").origin == f"run earlier-0001, trial 4 (taken over by run {RUN_ID})"
    assert training_of(records[1], spec_yaml="{}").origin == f"run {RUN_ID}, trial 1"


def test_report_and_export_say_what_came_from_elsewhere(store: RunStore, append: Callable[[Record], None]) -> None:
    for record in _records():
        append(record)
    outcome = SourceOutcome(num_records=5, tau=0.6)
    sources = (dataclasses.replace(_SOURCE, outcome=outcome),)
    write_warm_start(store, WarmStart(run_id=RUN_ID, sources=sources))
    page = page_of(store)
    assert dict(page.methods)["Warm start"].startswith("Run earlier: 2 records taken over")
    assert "Kendall's tau +0.60." in dict(page.methods)["Warm start"]
    assert "2 trials of 2 architectures" in page.outcome
    assert "1 record was taken over from earlier-0001" in page.outcome
    assert {row.trial: row.taken_over for row in page.front.rows}[0] == "taken over from earlier-0001"
    assert page.explorer is not None
    points = page.explorer.data["points"]
    assert dict(zip(points["trial"], points["taken_over"], strict=True))[0] == "taken over from earlier-0001"
    assert '<span class="tag" title="taken over from earlier-0001">taken over</span>' in render(page)
    assert "was taken over from earlier-0001, and they did not come along" in why_absent(store, store.records()[0])


def test_damaged_file_is_named_by_the_report_and_the_rest_is_shown(
    store: RunStore, append: Callable[[Record], None]
) -> None:
    append(make_record())
    store.write_bytes(WARM_START_FILE, b"\xff")
    page = page_of(store)
    assert len(page.problems) == 1
    assert "warm_start.json: cannot be read" in page.problems[0]
    assert page.front.rows


def test_file_is_read_back_as_it_was_written(store: RunStore) -> None:
    for outcome in (None, SourceOutcome(num_records=2, tau=None)):
        written = WarmStart(run_id=RUN_ID, sources=(dataclasses.replace(_SOURCE, outcome=outcome),))
        write_warm_start(store, written)
        assert read_warm_start(store) == written
    assert written.taken_over == {0, 1}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sources", 0, "losses"), [float("nan")]),
        (("sources", 0, "losses"), ["2"]),
        (("sources", 0, "losses"), []),
        (("sources", 0, "architectures"), [1]),
        (("sources", 0, "taken_over"), {"x": 1}),
        (("sources", 0, "taken_over"), {"0": -1}),
        (("sources", 0, "records"), True),
        (("sources", 0, "name"), None),
        (("sources",), {"a": 1}),
        (("outcome", 0, "kendall_tau"), 2),
        (("run_id",), 3),
    ],
)
def test_file_of_a_stranger_is_refused_in_one_line(path: tuple[Any, ...], value: Any, store: RunStore) -> None:
    outcome = SourceOutcome(num_records=5, tau=0.6)
    sources = (dataclasses.replace(_SOURCE, outcome=outcome),)
    write_warm_start(store, WarmStart(run_id=RUN_ID, sources=sources))
    values = json.loads(store.read_bytes(WARM_START_FILE))
    del values["sha256"]
    node = values
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    store.write_bytes(WARM_START_FILE, json.dumps(values).encode())
    with pytest.raises(ValueError, match=r"warm_start.json: (cannot be read|belongs to run)") as caught:
        read_warm_start(store)
    assert "\n" not in str(caught.value)


def test_run_without_the_file_has_no_sources(store: RunStore) -> None:
    assert read_warm_start(store).sources == ()
    assert "Warm start" not in dict(page_of(store).methods)
