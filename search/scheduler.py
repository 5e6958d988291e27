"""The Ray Tune scheduler: first come, first served, and the book's pruner decides who stops."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from depthweave.search.entry import Ledger
from depthweave.search.trial import REPORT

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

_KILLED = "a SIGKILL looks like that, of the kernel's where memory ran out"
_MAX_REASON = 500
"""Characters of a reason that are kept."""


class BookScheduler(FIFOScheduler):
    """Hears every result and every crash for the book."""

    def __init__(self, book: Ledger, *, hung: Mapping[str, str]) -> None:
        """`hung`: by name, why a trial's worker was killed for its silence."""
        super().__init__()
        self._book, self._hung = book, hung
        self._pending: dict[Trial, None] = {}
        """In the order they came; some that have started among them."""

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Remember whose turn it is."""
        self._pending[trial] = None

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """The first trial for which no worker is starting already.

        Tune's own choice is the first of all that did not start, and where a worker becomes free it kills the one that
        starts for that trial. With trials that last a second each costs the start of a worker, so that never all of
        them run. It is also looked for among all trials that ever were.
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
        """Stop a trial that the pruner gives up or pauses; for Ray one that goes on from its pause is another."""
        self._book.report(trial.trial_id, result[REPORT])
        return str(TrialScheduler.STOP if self._book.stops(trial.trial_id) else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Keep the cause of a crash; Ray tells the searcher next that the trial is over."""
        name, error = trial.trial_id, _error(trial)
        cause = "the worker ended without a word" if error is None else reason_of(error)
        self._book.fail(name, self._hung.get(name, cause), node_lost=error is not None and _is_node_lost(error))


def reason_of(error: Exception) -> str:
    """One line that says why a worker failed, of the exception that Ray made of it."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return _one_line(f"{type(cause).__name__}: {cause}")
    lines = [line for line in str(error).splitlines() if line.strip()]
    if isinstance(error, RayActorError) and not error.actor_init_failed:
        # The process is gone. Lines with a tab say which, and advice follows what happened.
        told = " ".join(line for line in lines if not line.startswith("\t"))
        told = told.partition("Worker exit detail: ")[2] or told
        told = told.partition(" Some common causes")[0]
        # What is seen of a process that had no last word.
        hint = f" ({_KILLED})" if "connection error code 2" in told else ""
        return _one_line(f"the worker died: {told}{hint}")
    # A traceback: its last line names the exception.
    return _one_line(lines[-1] if lines else type(error).__name__)


def _error(trial: Trial) -> Exception | None:
    # Ray keeps the exception in a file of its own; one that can be written but not read again is some library's.
    with suppress(Exception):
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error if isinstance(error, Exception) else None
    return None


def _is_node_lost(error: Exception) -> bool:
    """Whether the worker went with its machine, taken back by its owner or broken, or cannot be reached there."""
    if isinstance(error, ActorUnavailableError):
        # The first that is seen of a node that was killed: its sockets close before Ray knows why.
        return True
    return isinstance(error, RayActorError) and (error.preempted or "node has died" in str(error))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAX_REASON]
