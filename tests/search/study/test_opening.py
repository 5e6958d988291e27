"""Journal and records that disagree: lost trials are reported and trained again with the same architecture."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.paused_trials import PausedTrials
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.study.opening import open_consistent
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import Decision
from tests.search.choosers import Halving
from tests.search.ledger_runs import SPACE, Run, make_evaluation, make_report, open_studies

_PRUNER = {"pruner": "threshold", "options": {"upper": 5.0}}


def _repair(folder: Path, *, retry_failed: bool = False) -> list[str]:
    """Opens the studies as the driver does, and returns its notes."""
    notes: list[str] = []
    open_consistent(
        lambda: open_studies(folder, sampler="grid"),
        journal=folder / "study.journal",
        store=RunStore.open(folder),
        parameters=Parameters(SPACE),
        checkpoints=Checkpoints(folder / "checkpoints"),
        retry_failed=retry_failed,
        note=notes.append,
    )
    return notes


def _run_of_five(folder: Path) -> Run:
    """A run of five ended trials: 0, 1 and 4 complete, 2 stopped after its second evaluation, 3 failed."""
    run = Run(folder, pruner="threshold", options={"upper": 5.0}, max_concurrent=8)
    for name in ("0", "1", "2", "3", "4"):
        run.start(name)
    for number in (0, 1, 4):
        run.train(str(number), last_loss=1.0 + number / 10)
    for index, loss in enumerate((2.0, 6.0)):
        run.ledger.report("2", make_report(make_evaluation(index, loss=loss)))
    assert run.ledger.decide("2") is Decision.STOP
    run.ledger.finish("2", crashed=False)
    run.ledger.fail("3", "OSError: planted")
    run.ledger.finish("3", crashed=True)
    return run


def _lose(folder: Path, *numbers: int) -> None:
    for number in numbers:
        for table in ("records", "evaluations", "weights"):
            (folder / table / f"trial-{number:05d}-r000.parquet").unlink(missing_ok=True)


def _described(records: list[Record]) -> list[tuple[object, ...]]:
    return [(it.trial, it.architecture_id, it.state, it.reason, it.last_loss, it.steps) for it in records]


def test_trials_without_records_are_reported_and_trained_again(tmp_path: Path) -> None:
    run = _run_of_five(tmp_path)
    before, trials = run.store.records(), run.studies.trials
    _lose(tmp_path, 1, 2)

    notes = _repair(tmp_path)
    message = "its record is missing from records/, so it is trained again"
    assert notes == [f"trial {number} ({before[number].architecture_id}): {message}" for number in (1, 2)]
    again = Run(tmp_path, **_PRUNER, max_trials=5)
    first, second = again.start("a"), again.start("b")
    assert [(it.number, it.candidate.architecture.id) for it in (first, second)] == [
        (it.trial, it.architecture_id) for it in before[1:3]
    ]
    assert again.ledger.next("c") is None, "no other architecture takes their place"
    # The pruner is not asked about the first one: it had been complete.
    again.ledger.report("a", make_report(make_evaluation(0, loss=9.0)))
    assert again.ledger.decide("a") is Decision.CONTINUE
    again.train("a", last_loss=1.1)
    again.ledger.report("b", make_report(make_evaluation(0, loss=2.0)))
    assert again.ledger.decide("b") is Decision.CONTINUE
    again.ledger.report("b", make_report(make_evaluation(1, loss=6.0)))
    assert again.ledger.decide("b") is Decision.STOP
    again.ledger.finish("b", crashed=False)
    assert again.ledger.ended
    after = again.store.records()
    assert _described(after)[2:] == _described(before)[2:]
    assert [(it.state, it.values) for it in again.studies.trials] == [(it.state, it.values) for it in trials]
    assert _repair(tmp_path) == []


def test_without_any_record_every_trial_is_trained_again(tmp_path: Path) -> None:
    before = _described(_run_of_five(tmp_path).store.records())
    shutil.rmtree(tmp_path / "records")
    assert len(_repair(tmp_path)) == 5
    again = Run(tmp_path, **_PRUNER, max_trials=5, max_concurrent=8)
    started = [again.start(str(number)) for number in range(5)]
    assert [(it.number, it.candidate.architecture.id) for it in started] == [it[:2] for it in before]


@pytest.mark.parametrize("chooser", [None, Halving()], ids=["no chooser", "pauses"])
def test_interrupted_retraining_is_resumed_with_its_previous_ending(chooser: Chooser | None, tmp_path: Path) -> None:
    before = _run_of_five(tmp_path).store.records()
    _lose(tmp_path, 1)
    assert len(_repair(tmp_path)) == 1
    again = Run(tmp_path, max_trials=5, chooser=chooser)
    again.start("a")
    again.ledger.report("a", make_report(make_evaluation(0, loss=1.5)))
    assert again.ledger.decide("a") is Decision.CONTINUE
    # Killed and opened once more: the trial is not reported a second time.
    assert _repair(tmp_path) == []
    more = Run(tmp_path, max_trials=5, chooser=chooser)
    assert more.start("b").number == 1
    more.ledger.report("b", make_report(*(make_evaluation(index, loss=1.5) for index in range(2))))
    assert more.ledger.decide("b") is Decision.CONTINUE, "it had been complete"
    more.train("b", last_loss=1.1)
    assert [item.trial for item in more.store.records()] == [item.trial for item in before]
    assert more.studies.trials[1].state == TrialState.COMPLETE


def test_failed_trials_and_no_others_are_tried_again_on_request(tmp_path: Path) -> None:
    run = _run_of_five(tmp_path)
    before = run.store.records()
    assert _repair(tmp_path) == []
    assert _repair(tmp_path, retry_failed=True) == [
        f"trial 3 ({before[3].architecture_id}): it failed, and is tried again"
    ]
    # The request still holds when the next driver opens the run without it.
    assert _repair(tmp_path) == []
    again = Run(tmp_path, max_trials=5)
    assert again.start("a").number == 3
    assert again.ledger.next("b") is None
    again.train("a", last_loss=1.3)
    after = again.store.records()
    assert [item.state for item in after] == ["complete", "complete", "pruned", "complete", "complete"]
    assert again.studies.trials[3].state == TrialState.COMPLETE
    assert again.studies.trials[3].values[0] == pytest.approx(math.exp(1.3))
    assert Run(tmp_path, max_trials=5).ledger.ended


def test_optuna_learns_the_second_result_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run_of_five(tmp_path)
    _repair(tmp_path, retry_failed=True)
    again = Run(tmp_path, max_trials=5)
    again.start("a")
    monkeypatch.setattr("depthweave.search.trial_ledger.tell", lambda *_, **__: None)
    again.train("a", last_loss=1.3)
    monkeypatch.undo()
    more = Run(tmp_path, max_trials=5)
    assert more.ledger.ended
    assert more.studies.trials[3].state == TrialState.COMPLETE


def test_failed_reference_is_tried_again_without_a_request(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for name in ("reference", "other"):
        run.start(name)
        run.ledger.fail(name, "OSError: planted")
        run.ledger.finish(name, crashed=True)
    (note,) = _repair(tmp_path)
    assert note.startswith("trial 0 (")
    again = Run(tmp_path, max_trials=2)
    assert again.start("a").number == 0
    assert again.ledger.next("b") is None


def _cut(data: bytes) -> bytes:
    """The journal before its last trials started, for example restored from a backup."""
    return b"".join(data.splitlines(keepends=True)[:20])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (None, "study.journal: is missing or empty and rebuilt from the records and checkpoints: 5 trials"),
        (lambda data: b"", "study.journal: is missing or empty and rebuilt from the records and checkpoints: 5 trials"),
        (
            lambda data: b"".join(data.splitlines(keepends=True)[:3]),
            "set aside as study.journal.corrupt and rebuilt",
        ),
        (_cut, "set aside as study.journal.corrupt and rebuilt"),
    ],
    ids=["missing", "empty", "without a trial", "truncated"],
)
def test_journal_without_all_records_is_rebuilt(
    damage: Callable[[bytes], bytes] | None, message: str, tmp_path: Path
) -> None:
    run = _run_of_five(tmp_path)
    before, losses, journal = run.studies.trials, run.studies.losses(), tmp_path / "study.journal"
    if damage is None:
        journal.unlink()
    else:
        journal.write_bytes(damage(journal.read_bytes()))
    (note,) = _repair(tmp_path)
    assert message in note
    again = Run(tmp_path, max_trials=6)
    after = again.studies.trials[:5]
    assert [(it.number, it.state, it.params) for it in after] == [(it.number, it.state, it.params) for it in before]
    assert again.studies.losses() == losses
    live = again.start("a")
    assert live.number == 5
    assert live.candidate.architecture.id not in {item.architecture_id for item in again.store.records()}


def test_intact_lines_of_a_damaged_journal_keep_a_trial_without_a_record(tmp_path: Path) -> None:
    before = _run_of_five(tmp_path).store.records()
    _lose(tmp_path, 1)
    with (tmp_path / "study.journal").open("ab") as file:
        file.write(b"garbage\n")
    (note,) = _repair(tmp_path)
    assert "is damaged" in note
    again = Run(tmp_path, max_trials=5)
    live = again.start("a")
    assert (live.number, live.candidate.architecture.id) == (1, before[1].architecture_id)


def test_number_without_any_information_is_reported(tmp_path: Path) -> None:
    _run_of_five(tmp_path)
    _lose(tmp_path, 1)
    (tmp_path / "study.journal").unlink()
    assert _repair(tmp_path)[1] == "the architectures of the trials 1 are unknown: their numbers stay unused"


def test_missing_curves_are_reported_and_the_chooser_reads_them_from_the_journal(tmp_path: Path) -> None:
    run = _run_of_five(tmp_path)
    losses = run.studies.losses()[1]
    shutil.rmtree(tmp_path / "evaluations")
    (note,) = _repair(tmp_path)
    assert note == ("the learning curves of trials 0, 1, 2, 4 are missing from evaluations/: the report lacks them")
    again = Run(tmp_path, chooser=Halving())
    queue = again.ledger._queue
    assert isinstance(queue, PausedTrials)
    assert queue._snapshots[1].losses == losses
