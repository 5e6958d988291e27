"""A search on Ray whose trials pause: they train as if they never had, and it goes on after an interruption."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import run_search
from depthweave.search.preparation import create_run
from depthweave.search.trials.live_trial import LiveTrial
from tests.search.choosers import Halving, Turns
from tests.search.search_runs import RecordingProgress, prepared_search, search

# Ray's processes start slowly where the machine is busy.
pytestmark = pytest.mark.timeout(300)

_SETTINGS = ("search.sampler=grid", "objectives=[perplexity, memory_bytes]")


class _Interrupting(RecordingProgress):
    """Ctrl-C at the evaluation of that number, all trials counted."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def on_evaluation(self, live: LiveTrial) -> None:
        super().on_evaluation(live)
        if self.num_evaluations == self._after:
            signal.raise_signal(signal.SIGINT)


def _curves(store: RunStore) -> dict[tuple[str, int], float]:
    rows = store.evaluations().to_pylist()
    return {(item["architecture_id"], item["index"]): item["loss"] for item in rows}


def _ending(record: Record) -> tuple[object, ...]:
    return record.architecture_id, record.state, record.reason, record.audit, record.last_loss, record.attempts


@pytest.mark.slow
def test_trials_that_took_turns_trained_as_those_that_ran_through(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    # One worker: with two, how often a trial pauses depends on which of them comes to its rung first.
    prepared = prepared_search(small_spec, *_SETTINGS, "search.trials=4", "resources.max_concurrent=1")
    heard = RecordingProgress()
    store = create_run(prepared, out=tmp_path / "turns")
    turns = run_search(prepared, store, address=ray_address, progress=heard, chooser=Turns())
    two_workers = prepared_search(small_spec, *_SETTINGS, "search.trials=4")
    through = search(two_workers, out=tmp_path / "through", address=ray_address)
    assert len(heard.paused) >= 6, "every trial but the last pauses after its first and its second evaluation"
    assert turns.ending == "done"
    assert turns.busy_frac is not None, "a pause is no new attempt"
    assert {_ending(item) for item in turns.records} == {_ending(item) for item in through.records}
    assert _curves(store) == _curves(through.store)
    assert store.weights().num_rows == through.store.weights().num_rows
    # Checkpoints are gone; the weights of complete trials stay.
    assert {path.name for path in tmp_path.glob("turns/checkpoints/*/*")} == {
        "model.safetensors",
        "model.safetensors.sha256",
    }


@pytest.mark.slow
def test_interrupted_search_goes_on_with_its_pauses_as_it_would_have(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    prepared = prepared_search(small_spec, *_SETTINGS, "search.trials=8", "resources.max_concurrent=1")
    whole = create_run(prepared, out=tmp_path / "whole")
    expected = run_search(prepared, whole, address=ray_address, progress=RecordingProgress(), chooser=Halving())
    assert {item.state for item in expected.records} == {"complete", "pruned"}
    assert sum(item.audit for item in expected.records) == 1

    # In the midst of the third trial, at the rung of the fourth, and while the audit runs.
    cut = create_run(prepared, out=tmp_path / "cut")
    for after in (3 + 3 + 2, 3, 100):
        found = run_search(prepared, cut, address=ray_address, progress=_Interrupting(after), chooser=Halving())
    assert found.ending == "done"

    def kept(records: list[Record]) -> list[tuple[object, ...]]:
        return [_ending(item)[:-1] for item in records]

    assert kept(found.records) == kept(expected.records)
    assert _curves(cut) == _curves(whole)
