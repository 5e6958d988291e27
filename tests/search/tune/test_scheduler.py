"""What the ledger gets from the scheduler: decisions, and why a worker ended."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError
from ray.tune.schedulers import TrialScheduler

from depthweave.search.trials.live_trial import Decision, Ledger
from depthweave.search.trials.trial import REPORT
from depthweave.search.tune.scheduler import LedgerScheduler

_KILLED = (
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes: x"
)
_NODE = "The actor died because its node has died. Node Id: 1f2e"


class _RecordingLedger:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bool]] = []

    def fail(self, name: str, error: str, *, node_lost: bool) -> None:
        self.calls.append((name, error, node_lost))


@pytest.mark.parametrize(
    ("error", "cause", "node_lost"),
    [
        (RayTaskError("step", "traceback", MemoryError("asked too much")), "MemoryError: asked too much", False),
        (RayActorError(None, _KILLED), "typical of a SIGKILL", False),
        (RayActorError(None, _NODE), _NODE, True),
        (RayActorError(None, "taken back", preempted=True), "taken back", True),
        (ActorUnavailableError("Socket closed", None), "Socket closed", True),
        (None, "the worker ended without a message", False),
    ],
)
def test_end_of_a_worker_is_reported_with_its_cause(
    error: Exception | None, cause: str, node_lost: bool, tmp_path: Path
) -> None:
    if error is not None:
        (tmp_path / "error.pkl").write_bytes(cloudpickle.dumps(error))
    ledger = _RecordingLedger()
    trial: Any = SimpleNamespace(trial_id="a", pickled_error_file=str(tmp_path / "error.pkl"))
    LedgerScheduler(cast(Ledger, ledger), hung={}).on_trial_error(cast(Any, None), trial)
    ((name, reason, lost),) = ledger.calls
    assert (name, lost) == ("a", node_lost)
    assert cause in reason


def test_worker_killed_for_its_silence_is_reported_as_hung(tmp_path: Path) -> None:
    ledger = _RecordingLedger()
    (tmp_path / "error.pkl").write_bytes(cloudpickle.dumps(RayActorError(None, _KILLED)))
    trial: Any = SimpleNamespace(trial_id="a", pickled_error_file=str(tmp_path / "error.pkl"))
    LedgerScheduler(cast(Ledger, ledger), hung={"a": "the trial hung"}).on_trial_error(cast(Any, None), trial)
    assert ledger.calls == [("a", "the trial hung", False)]


class _DecidingLedger(_RecordingLedger):
    def __init__(self, decision: Decision) -> None:
        super().__init__()
        self._decision = decision

    def report(self, name: str, report: object) -> None:
        self.calls.append((name, "reported", False))

    def decide(self, name: str) -> Decision:
        assert self.calls == [(name, "reported", False)], "the report comes first"
        return self._decision


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (Decision.CONTINUE, TrialScheduler.CONTINUE),
        (Decision.PAUSE, TrialScheduler.STOP),
        (Decision.STOP, TrialScheduler.STOP),
    ],
)
def test_paused_trial_has_ended_for_ray(decision: Decision, answer: str) -> None:
    scheduler = LedgerScheduler(cast(Ledger, _DecidingLedger(decision)), hung={})
    trial: Any = SimpleNamespace(trial_id="a")
    assert scheduler.on_trial_result(cast(Any, None), trial, {REPORT: None}) == answer


class _Pending:
    """A trial of Tune's."""

    PENDING = "PENDING"

    def __init__(self) -> None:
        self.status = self.PENDING


def test_trial_whose_worker_is_starting_is_given_no_other() -> None:
    starting, waits, new = _Pending(), _Pending(), _Pending()
    controller: Any = SimpleNamespace(
        _trial_to_actor={starting: "starting", waits: "not placed"},
        _actor_manager=SimpleNamespace(is_actor_started=lambda worker: worker == "starting"),
    )
    scheduler = LedgerScheduler(cast(Ledger, _RecordingLedger()), hung={})
    assert scheduler.choose_trial_to_run(controller) is None
    for trial in (starting, waits, new):
        scheduler.on_trial_add(controller, cast(Any, trial))
    # The first without a worker, or whose requested worker has no room yet.
    assert scheduler.choose_trial_to_run(controller) is waits
    waits.status = "RUNNING"
    assert scheduler.choose_trial_to_run(controller) is new
    new.status = "RUNNING"
    assert scheduler.choose_trial_to_run(controller) is None
