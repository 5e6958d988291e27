"""Pauses: a chosen trial continues from its checkpoint, and a killed search decides as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.pruners.chooser import NEW, Chooser, TrialSnapshot
from depthweave.search.trials.checkpoints import Checkpoints, trial_folder
from depthweave.search.trials.live_trial import Decision
from depthweave.search.trials.trial import read_progress, write_progress
from depthweave.spaces.decoder import ConnectionWeight
from depthweave.trainers import Evaluation
from depthweave.trainers.checkpoint import STATE_FILE
from tests.search.choosers import GivesUp, Halving, Turns
from tests.search.ledger_runs import RECIPE, REFERENCE, SPACE, Run, make_evaluation, make_report

_IDS = sorted((item.architecture.id for item in SPACE), key=lambda item: item != REFERENCE.architecture.id)
"""In the order of their starts: the reference, then the space in its order."""
_LAST = RECIPE.num_evaluations


class _Killed(Exception):
    """The driver dies here, and its worker with it."""


class _Fuse:
    """Kills at the n-th moment: moments are before each write of the driver and after each write of its worker."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.burnt = 0

    def burn(self) -> None:
        self.burnt += 1
        if self.left is not None:
            if self.left == 0:
                raise _Killed
            self.left -= 1


class _Worker:
    """Trains as a real worker does: for each evaluation it writes a checkpoint, then reports."""

    def __init__(self, run: Run, name: str, *, trained: list[tuple[int, int]], fuse: _Fuse | None = None) -> None:
        self._run, self._name, self._trained, self._fuse = run, name, trained, fuse
        self._segments = 0
        self._number: int | None = None
        self._history: list[Evaluation] = []

    @property
    def is_busy(self) -> bool:
        return self._number is not None

    def take(self) -> bool:
        """Takes a trial, and returns whether there was one."""
        self._segments += 1
        live = self._run.ledger.next(self._label)
        if live is None:
            return False
        self._number, self._rank = live.number, _IDS.index(live.candidate.architecture.id)
        checkpoints = Checkpoints(self._run.folder / "checkpoints")
        self._folder = checkpoints.folder(live.number)
        progress = read_progress(checkpoints, live.number)
        self._history = [] if progress is None else list(progress.evaluations)
        self._is_ahead = len(self._history) > len(live.evaluations)
        self._attempts = 1 if progress is None else progress.attempts + (not live.paused or self._is_ahead)
        return True

    def train(self) -> None:
        """The next evaluation; the trial may end or pause."""
        index = len(self._history)
        if not self._is_ahead and index < _LAST:
            self._trained.append((self._rank, index + 1))
            weights = (ConnectionWeight(1, 0, index + 0.5),)
            self._history.append(make_evaluation(index, loss=loss_of(self._rank, index + 1), weights=weights))
        self._is_ahead = False
        report = make_report(*self._history, attempts=self._attempts)
        write_progress(self._folder, report)
        (self._folder / STATE_FILE).touch()
        if self._fuse is not None:
            self._fuse.burn()
        self._run.ledger.report(self._label, report)
        if len(self._history) == _LAST or self._run.ledger.decide(self._label) is not Decision.CONTINUE:
            self._run.ledger.finish(self._label, crashed=False)
            self._number = None

    @property
    def _label(self) -> str:
        return f"{self._name}-{self._segments}"


def loss_of(rank: int, evaluation: int) -> float:
    """Curves that cross: the best trial after one evaluation is not the best at the end."""
    return 5.0 - evaluation * (0.2 + 0.1 * (rank * 7 % 10)) + 0.05 * (rank * 3 % 10)


def run_to_end(run: Run, *, num_workers: int = 1, fuse: _Fuse | None = None) -> list[tuple[int, int]]:
    """Runs until the ledger has ended. Returns rank and evaluation of all that was trained, in order."""
    trained: list[tuple[int, int]] = []
    _work(run, trained, num_workers=num_workers, fuse=fuse)
    return trained


def _work(run: Run, trained: list[tuple[int, int]], *, num_workers: int = 1, fuse: _Fuse | None = None) -> None:
    workers = [_Worker(run, f"w{number}", trained=trained, fuse=fuse) for number in range(num_workers)]
    while True:
        for worker in workers:
            if not worker.is_busy:
                worker.take()
        busy = [worker for worker in workers if worker.is_busy]
        if not busy:
            # Otherwise Tune would wait a second, or for ever.
            assert run.ledger.ended
            return
        for worker in busy:
            worker.train()


def compared_columns(record: Record) -> tuple[object, ...]:
    return record.architecture_id, record.state, record.reason, record.last_loss, record.audit, record.steps


def states(run: Run) -> list[TrialState]:
    found = [item.state for item in run.studies.trials]
    assert found == [item.state for item in run.studies.curves.trials]
    return found


def test_paused_trial_has_no_record_and_continues_as_the_same_trial(tmp_path: Path) -> None:
    run = Run(tmp_path, chooser=Turns(), max_trials=3)
    trained: list[tuple[int, int]] = []
    worker = _Worker(run, "w", trained=trained)
    for _ in range(_LAST + 1):
        if not worker.is_busy:
            worker.take()
        worker.train()
    assert run.listener.paused == [1]
    assert [item.trial for item in run.store.records()] == [0]
    assert states(run) == [TrialState.COMPLETE, TrialState.RUNNING]
    assert [item.number for item in run.ledger.paused] == [1]
    assert not run.ledger.ended

    _work(run, trained)
    record = run.store.records()[1]
    assert (record.trial, record.state, record.attempts, record.audit) == (1, "complete", 1, False)
    assert [item.number for item in run.listener.started] == [0, 1, 2, 1, 2, 1, 2, 1, 2]
    values = run.store.weights([1])["value"].to_pylist()
    assert values == [0.5, 1.5, 2.5, 3.5], "connection weights from before the pause are kept"


def test_turns_are_taken_rung_by_rung(tmp_path: Path) -> None:
    run = Run(tmp_path, chooser=Turns(), max_trials=4)
    trained = run_to_end(run)
    expected = [(0, evaluation) for evaluation in range(1, _LAST + 1)]
    assert trained == expected + [(rank, evaluation) for evaluation in range(1, _LAST + 1) for rank in (1, 2, 3)]
    assert states(run) == [TrialState.COMPLETE] * 4
    assert [item.attempts for item in run.store.records()] == [1] * 4


def test_halving_by_hand(tmp_path: Path) -> None:
    """The losses after evaluation 1 and 2 of ranks 0 to 3 and the reference's, worked out on paper."""
    run = Run(tmp_path, chooser=Halving(), max_trials=4)
    firsts = [round(loss_of(rank, 1), 2) for rank in range(4)]
    seconds = [round(loss_of(rank, 2), 2) for rank in range(4)]
    assert (firsts, seconds) == ([4.8, 4.25, 4.7, 5.15], [4.6, 3.35, 4.1, 4.85])
    trained = run_to_end(run)
    assert trained == [
        *[(0, evaluation) for evaluation in range(1, _LAST + 1)],  # the reference is not asked
        (1, 1),  # best of two: on to the second rung, where it is the better of two again
        (1, 2),
        (1, 3),
        (1, 4),
        (2, 1),  # second of three, of whom two go on: at the second rung it is second of three too
        (2, 2),
        (2, 3),
        (2, 4),
        (3, 1),  # last of four: pauses, and nothing more may start; it is the only one to audit
        (3, 2),
        (3, 3),
        (3, 4),
    ]
    assert [item.audit for item in run.store.records()] == [False, False, False, True]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_trials_that_never_continue_are_stopped_and_one_is_audited(num_workers: int, tmp_path: Path) -> None:
    run = Run(tmp_path, chooser=Halving(), max_concurrent=num_workers)
    trained = run_to_end(run, num_workers=num_workers)
    assert len(set(trained)) == len(trained), "trained twice"
    records = run.store.records()
    assert len(records) == len(SPACE)
    (audit,) = (item for item in records if item.audit)
    assert audit.state == "complete"
    pruned = [item for item in records if item.state == "pruned"]
    assert {item.state for item in records} == {"complete", "pruned"}
    assert len(pruned) >= 2
    for item in pruned:
        count = item.steps // RECIPE.evaluation_steps()[0]
        assert item.reason == f"paused by the pruner after evaluation {count} and not taken up again"
        assert run.store.evaluations([item.trial]).num_rows == count
        assert run.store.weights([item.trial])["value"].to_pylist() == [index + 0.5 for index in range(count)]
        assert not trial_folder(tmp_path / "checkpoints", item.trial).exists()
    optuna_states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    assert states(run) == [optuna_states[item.state] for item in records]
    assert run.ledger.paused == []


def test_only_running_trials_count_against_the_workers_and_all_against_the_trials(tmp_path: Path) -> None:
    run = Run(tmp_path, chooser=Turns(), max_trials=5, max_concurrent=2)
    trained: list[tuple[int, int]] = []
    workers = [_Worker(run, name, trained=trained) for name in "abc"]
    assert [worker.take() for worker in workers] == [True, True, False]
    workers[1].train()
    assert run.listener.paused == [1]
    assert workers[2].take()
    workers[2].train()
    assert [worker.take() for worker in workers[1:]] == [True, False]
    assert len(run.studies.trials) == 4
    assert not run.ledger.ended


def test_worker_without_work_does_not_ask_the_chooser_again_and_again(tmp_path: Path) -> None:
    class Counting(Halving):
        calls = 0

        def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
            self.calls += 1
            return super().choose(snapshots, may_start=may_start)

    chooser = Counting()
    run = Run(tmp_path, chooser=chooser, max_trials=1)
    trained: list[tuple[int, int]] = []
    busy, idle = (_Worker(run, name, trained=trained) for name in "ab")
    assert busy.take()
    assert not idle.take()
    before = chooser.calls
    assert [idle.take() for _ in range(10)] == [False] * 10
    assert chooser.calls == before
    assert not run.ledger.ended, "a trial that runs may pause, and be chosen again"
    busy.train()
    assert not idle.take()
    assert chooser.calls == before + 1


class _FixedAnswer(Turns):
    """Starts two trials, then always gives the same answer."""

    def __init__(self, answer: int | Literal["new"]) -> None:
        self._answer: int | Literal["new"] = answer

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        return NEW if may_start and len(snapshots) < 2 else self._answer


@pytest.mark.parametrize("answer", [0, 99, NEW])
def test_answer_that_cannot_be_followed_is_refused_in_one_line(answer: int | Literal["new"], tmp_path: Path) -> None:
    run = Run(tmp_path, chooser=_FixedAnswer(answer), max_trials=2)
    with pytest.raises(ValueError, match=rf"chooser\.choose answered '?{answer}'?.*paused trial \(1\)") as caught:
        run_to_end(run)
    assert "\n" not in str(caught.value)


def test_audit_that_is_not_paused_is_refused_in_one_line(tmp_path: Path) -> None:
    class Wrong(Halving):
        def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
            return [0]

    with pytest.raises(ValueError, match=r"chooser\.audits answered trial 0: name paused ones \(3\)"):
        run_to_end(Run(tmp_path, chooser=Wrong(), max_trials=4))


def test_crash_after_a_pause_is_another_attempt_and_fails_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, chooser=Turns(), max_trials=3)
    worked: list[tuple[int, int]] = []
    worker = _Worker(run, "w", trained=worked)
    while len(run.listener.paused) < 2:
        if not worker.is_busy:
            worker.take()
        worker.train()
    live = run.start("again")
    assert (live.number, live.paused) == (1, True)
    run.ledger.fail("again", "OSError: gone")
    run.ledger.finish("again", crashed=True)
    _work(run, worked)
    records = run.store.records()
    assert [(item.state, item.reason) for item in records[1:]] == [("failed", "OSError: gone"), ("complete", None)]
    assert run.store.evaluations([1]).num_rows == 1


def test_search_that_may_have_more_trials_continues_after_its_conclusion(tmp_path: Path) -> None:
    first = run_to_end(Run(tmp_path, chooser=Halving(), max_trials=5))
    before = Run(tmp_path, chooser=Halving(), max_trials=5)
    assert before.ledger.ended
    run = Run(tmp_path, chooser=Halving(), max_trials=8)
    second = run_to_end(run)
    assert not {rank for rank, _ in first} & {rank for rank, _ in second}
    assert len(run.store.records()) == 8
    assert sum(item.audit for item in run.store.records()) == 2


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> _Fuse:
    found = _Fuse()
    write, append = JournalFileBackend.append_logs, RunStore.append

    def burning_write(self: JournalFileBackend, logs: list[dict[str, object]]) -> None:
        found.burn()
        write(self, logs)

    def burning_append(self: RunStore, record: Record, **rows: object) -> None:
        found.burn()
        append(self, record, **rows)  # type: ignore[arg-type]

    monkeypatch.setattr(JournalFileBackend, "append_logs", burning_write)
    monkeypatch.setattr(RunStore, "append", burning_append)
    return found


_EVERY_MOMENT = [pytest.mark.release, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("chooser", "max_trials", "every"),
    [
        pytest.param(Turns(), 3, 13, id="turns"),
        pytest.param(Halving(), 4, 13, id="halving"),
        pytest.param(GivesUp(), 4, 13, id="audit that ends on the front"),
        pytest.param(Turns(), 4, 1, id="turns, every moment", marks=_EVERY_MOMENT),
        pytest.param(Halving(), 5, 1, id="halving, every moment", marks=_EVERY_MOMENT),
    ],
)
def test_killed_search_decides_as_the_uninterrupted_one(
    chooser: Chooser, max_trials: int, every: int, fuse: _Fuse, tmp_path: Path
) -> None:
    def make(folder: str) -> Run:
        return Run(tmp_path / folder, chooser=chooser, max_trials=max_trials, max_concurrent=1)

    whole = make("whole")
    expected = run_to_end(whole, fuse=fuse)
    records = {item.architecture_id: compared_columns(item) for item in whole.store.records()}
    for moment in range(0, fuse.burnt, every):
        trained: list[tuple[int, int]] = []
        fuse.left = moment
        with pytest.raises(_Killed):
            _work(make(str(moment)), trained, fuse=fuse)
        fuse.left = None
        again = make(str(moment))
        _work(again, trained)
        assert trained == expected, f"killed at moment {moment}"
        assert {item.architecture_id: compared_columns(item) for item in again.store.records()} == records
