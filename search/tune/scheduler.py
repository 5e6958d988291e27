"""The Ray Tune scheduler: trials start in the order they are added, and the ledger decides which of them stop."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from depthweave.search.failures.causes import is_node_lost, reason_of
from depthweave.search.trials.live_trial import Decision, Ledger
from depthweave.search.trials.trial import REPORT

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial


_RAY_DECISIONS: dict[Decision, str] = {
    Decision.CONTINUE: TrialScheduler.CONTINUE,
    Decision.PAUSE: TrialScheduler.STOP,
    Decision.STOP: TrialScheduler.STOP,
}


class LedgerScheduler(FIFOScheduler):
    """Passes every result and every crash on to the ledger."""

    def __init__(self, ledger: Ledger, *, hung: Mapping[str, str]) -> None:
        """`hung`: the reasons for which workers of hanging trials were killed, by the trial's name."""
        super().__init__()
        self._ledger, self._hung = ledger, hung
        self._pending: dict[Trial, None] = {}
        """In the order they were added. Some of them may have started."""

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Adds the trial at the end of the queue."""
        self._pending[trial] = None

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """Returns the first pending trial for which no worker is starting.

        Tune's own choice is the first pending trial. Where a worker becomes free, Tune gives it to that trial and kills
        the worker that is starting for it. With trials that last a second every trial then costs the start of a
        worker, and the workers never all run. Tune also looks for it among all trials of the search.
        """
        controller: Any = tune_controller
        for trial in list(self._pending):
            worker = controller._trial_to_actor.get(trial)
            if trial.status != trial.PENDING:
                del self._pending[trial]
            elif worker is None or not controller._actor_manager.is_actor_started(worker):
                return trial
        return None

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Returns Ray's answer to a result. For Ray a pause is an end: a paused trial continues as a new Ray trial."""
        self._ledger.report(trial.trial_id, result[REPORT])
        return _RAY_DECISIONS[self._ledger.decide(trial.trial_id)]

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Passes on the cause of a crash. Ray calls the searcher next, as the trial has ended."""
        name, error = trial.trial_id, _error(trial)
        cause = "the worker ended without a message" if error is None else reason_of(error)
        self._ledger.fail(name, self._hung.get(name, cause), node_lost=error is not None and is_node_lost(error))


def _error(trial: Trial) -> Exception | None:
    # Ray keeps the exception in a file. Exceptions of some libraries can be written and not read again.
    with suppress(Exception):
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error if isinstance(error, Exception) else None
    return None
