"""Trials that run out of memory, are killed, hang, raise or see the clock jump: each ends as its record says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.tune import hang_detector
from tests.faults.wholeness import check_whole
from tests.search.faulty_trials import Fault, faulty_trial
from tests.search.search_runs import prepared_search, search

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

_FAULTS: tuple[Fault, ...] = (
    *("raises", "diverges", "no memory", "no memory of a device", "killed", "killed once", "hangs", "hangs once"),
    *("stopped", "clock jumps"),
)
_CAUSES: dict[Fault, str] = {
    "raises": "OSError: planted: no first evaluation",
    "diverges": "the loss was not finite at step ",
    "no memory": "MemoryError: planted: 1 EiB asked for",
    "no memory of a device": "OutOfMemoryError: planted: CUDA out of memory",
    "killed": "the worker died: ",
    "hangs": "the trial hung: no evaluation for ",
    "stopped": "the trial hung: no evaluation for ",
}
"""Why each failed. The others are complete in the end."""


class _Search(NamedTuple):
    out: Path
    store: RunStore
    by_fault: dict[Fault, Record]
    num_trials: int


@pytest.fixture(scope="module")
def faulty(small_spec: dict[str, Any], ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> _Search:
    prepared = prepared_search(small_spec, "search.retries=1")
    others = [item.architecture.id for item in prepared.space if item is not prepared.reference]
    faults = dict(zip(others, _FAULTS, strict=False))
    assert len(faults) == len(_FAULTS)
    out = tmp_path_factory.mktemp("runs") / "faulty"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("depthweave.search.tune.loop.ArchitectureTrial", faulty_trial(faults))
        # A trial takes a fraction of a second here, and this is much more even where the machine is busy.
        patch.setattr(hang_detector, "_MIN_LIMIT_S", 15.0)
        patch.setattr(hang_detector, "_FACTOR", 8.0)
        result = search(prepared, out=out, address=ray_address)
    assert result.ending == "done"
    records = {item.architecture_id: item for item in result.records}
    return _Search(out, result.store, {fault: records[key] for key, fault in faults.items()}, len(prepared.space))


def test_search_ends_whole(faulty: _Search) -> None:
    records = check_whole(faulty.out, num_trials=faulty.num_trials)
    harmed = {item.trial for item in faulty.by_fault.values()}
    assert {item.state for item in records if item.trial not in harmed} == {"complete"}


@pytest.mark.parametrize("fault", _CAUSES)
def test_cause_is_in_the_record(faulty: _Search, fault: Fault) -> None:
    record = faulty.by_fault[fault]
    assert record.state == ("diverged" if fault == "diverges" else "failed")
    assert record.reason is not None
    assert record.reason.startswith(_CAUSES[fault])
    assert record.attempts == (1 if fault == "diverges" else 2), "a crash is tried once more"


def test_killed_process_is_named_with_its_signal(faulty: _Search) -> None:
    reason = faulty.by_fault["killed"].reason
    assert reason is not None
    assert "SIGKILL" in reason


@pytest.mark.parametrize("fault", ["killed once", "hangs once"])
def test_trial_continues_from_its_last_evaluation(faulty: _Search, fault: Fault) -> None:
    record = faulty.by_fault[fault]
    assert (record.state, record.attempts) == ("complete", 2)
    rows = faulty.store.evaluations([record.trial]).to_pylist()
    # Its first evaluation is from before the fault, and was not made again.
    assert [row["index"] for row in rows] == [0, 1, 2]


def test_durations_do_not_jump_with_the_clock(faulty: _Search) -> None:
    record = faulty.by_fault["clock jumps"]
    assert record.state == "complete"
    for seconds in (record.wall_s, record.measure_s, record.train_s, record.evaluation_s):
        assert 0.0 < seconds < 3600.0
