"""A view of a run holds what the functions of analysis return for its records, each computed at most once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from depthweave.reports.analysis import run_view
from depthweave.reports.analysis.distinct import grouped
from depthweave.reports.analysis.front import complete, front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import averaged
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.page.page import page_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.confirmed import PAIR, confirmed_records
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

RUNS = [
    (confirmed_records(), PAIR),
    ([trial.record for trial in synthetic_trials()], OBJECTIVES),
    ([*confirmed_records(), make_record(50, architecture_id="elsewhere", hardware="another", latency=0.1)], PAIR),
    ([], PAIR),
]


@pytest.mark.parametrize(("records", "objectives"), RUNS)
def test_view_equals_the_functions_of_its_records(records: list[Record], objectives: Sequence[str]) -> None:
    view = RunView.of(records, objectives=objectives)
    verdicts = verdicts_of(records, objectives=objectives)
    assert view.averaged == averaged(records)
    assert view.candidates == complete(records, objectives=objectives)
    assert view.front == front(records, objectives=objectives)
    assert view.verdicts == verdicts
    settled = {key for key, verdict in verdicts.items() if verdict.settled}
    assert view.groups == grouped(view.front, objectives=objectives, settled=settled)
    assert view.evaluations.num_rows == 0


def test_view_of_a_store_is_what_it_holds(full_store: RunStore) -> None:
    view = RunView.read(full_store)
    assert view.records == full_store.records()
    # Not the losses: the one of a diverged training is NaN.
    columns = ["trial", "index", "tokens"]
    assert view.evaluations.select(columns).equals(full_store.evaluations().select(columns))
    assert (view.objectives, view.tolerances) == (full_store.info.objectives, full_store.info.tolerance_of)


def test_page_computes_verdicts_once(full_store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(run_view, "verdicts_of", lambda *args, **named: calls.append(1) or verdicts_of(*args, **named))
    page_of(full_store)
    assert calls == [1]
