"""The Ray Tune loop of a search: trials run until the ledger has no more, time is up, or the user stops it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import ray
from ray import tune
from ray.tune.experiment import Trial

from depthweave.search.cluster.placement import Placement, bundle
from depthweave.search.cluster.ray_health import RayLostError, check_alive
from depthweave.search.scratch import lock_folder, scratch
from depthweave.search.signals import TERMINATED
from depthweave.search.spec.schema import Spec
from depthweave.search.trials.live_trial import Ledger
from depthweave.search.trials.trial import ArchitectureTrial, TrialPlan
from depthweave.search.tune.guarded_ledger import GuardedLedger, LedgerFault
from depthweave.search.tune.hang_detector import HangDetector
from depthweave.search.tune.loggers import make_loggers
from depthweave.search.tune.scheduler import LedgerScheduler
from depthweave.search.tune.searcher import LedgerSearcher
from depthweave.spaces.costs import costs_of
from depthweave.spaces.hosted import architecture_from_dict
from depthweave.trainers.tasks import TaskData

Ending = Literal["done", "time", "interrupted"]


def run_trials(
    ledger: Ledger, *, spec: Spec, plan: TrialPlan, data: TaskData, deadline: float, on_tick: Callable[[], None]
) -> Ending:
    """Runs trials on the connected cluster until the ledger has ended. Then trials in flight wait for a resumption.

    The loop stops at the `deadline`, a time of the clock `time.monotonic`, which may be infinite. SIGTERM raises
    `SystemExit` at once, because its sender kills the process soon. Everything that matters is saved by then.
    """
    with _stop_signals(ledger.ignore_events) as signals, scratch("tune") as folder:
        watch, guarded = _Watch(signals, deadline=deadline, on_tick=on_tick), GuardedLedger(ledger)
        try:
            # Not Tuner: it pickles searcher and scheduler, which hold the run's open journal and store.
            tune.run(
                tune.with_parameters(ArchitectureTrial, data=data, plan=plan),
                resources_per_trial=tune_bundle(spec, placement=plan.placement),
                search_alg=LedgerSearcher(guarded),
                scheduler=LedgerScheduler(guarded, hung=watch.hung),
                num_samples=-1,
                reuse_actors=True,
                max_failures=0,  # the ledger decides which trials are tried again
                raise_on_failed_trial=False,
                callbacks=[*make_loggers(spec.loggers, folder=lock_folder(plan.locks), run_id=plan.run_id), watch],
                verbose=0,
                # Tune needs a folder for its own state, which is deleted: ours is the journal and the store.
                name="tune",
                storage_path=str(folder),
                trial_dirname_creator=_directory_name,
            )
        except _SearchEnd as end:
            return end.ending
        except LedgerFault as fault:
            if isinstance(fault.error, RayLostError) and signals:
                # Ray's processes got the signal too.
                return _ending_of(signals)
            raise fault.error from None
        finally:
            ledger.close()
    return "done"


def tune_bundle(spec: Spec, *, placement: Placement) -> tune.PlacementGroupFactory:
    """Returns what a trial needs of a node, and which nodes it may use, as Tune's resource request."""
    # Only where it is needed: older versions of Ray have no selectors.
    selector = placement.selector()
    named = {"bundle_label_selector": [selector]} if selector else {}
    return tune.PlacementGroupFactory([bundle(spec.resources)], **named)


def free_trial_memory(trial: Trial) -> None:
    """Frees what grows with the architecture and the reports of an ended trial: Tune keeps all its trials."""
    # The config is in Tune's trial twice, and once more as text.
    trial.config.clear()
    trial.evaluated_params, trial.experiment_tag = {}, ""
    # A result that Tune requests and never reads: Ray would keep it.
    trial._default_result_or_future = None
    kept = trial.run_metadata
    # Not empty, or Tune would request a first result.
    kept.last_result = {"done": True}
    # Statistics of every number in all reports.
    kept.metric_analysis, kept.metric_n_steps = {}, {}


class _SearchEnd(BaseException):
    """Leaves Tune's loop at once. Not an `Exception`: Tune would first wait for its workers' steps to end."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


class _Watch(tune.Callback):
    """Checks the clock and the signals between two events, where journal and store are consistent.

    It kills the workers of trials that hang, and frees the memory of trials that ended.
    """

    def __init__(self, signals: list[int], *, deadline: float, on_tick: Callable[[], None]) -> None:
        self._signals, self._deadline, self._on_tick = signals, deadline, on_tick
        self._hang_detector = HangDetector()
        self._running: dict[str, Trial] = {}
        self.hung: dict[str, str] = {}
        """Why workers were killed, by the trial's name."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._signals:
            raise _SearchEnd(_ending_of(self._signals))
        if time.monotonic() > self._deadline:
            raise _SearchEnd("time")
        try:
            check_alive()
        except RayLostError as error:
            raise LedgerFault(error) from None
        for name, reason in self._hang_detector.hanging().items():
            actor = self._running[name].temporary_state.ray_actor
            if actor is not None:
                self.hung[name] = reason
                ray.kill(actor)
        self._on_tick()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._running[trial.trial_id] = trial
        costs = costs_of(architecture_from_dict(trial.config["architecture"]))
        self._hang_detector.begin(trial.trial_id, forward_flops=costs.forward_flops)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._hang_detector.add_report(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ended(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ended(trial)

    def _ended(self, trial: Trial) -> None:
        self._running.pop(trial.trial_id, None)
        self.hung.pop(trial.trial_id, None)
        self._hang_detector.end(trial.trial_id)
        free_trial_memory(trial)


def _ending_of(signals: list[int]) -> Ending:
    """Returns how a search ends that got these signals. SIGTERM raises `SystemExit`."""
    if signal.SIGTERM in signals:
        sys.exit(TERMINATED)
    return "interrupted"


@contextmanager
def _stop_signals(ignore_events: Callable[[], None]) -> Iterator[list[int]]:
    """Yields the list of the signals that come, Ctrl-C or SIGTERM; outside the main thread it stays empty.

    The first signal calls `ignore_events`: Ray's processes may get it too, and their ends are no fault of the trials.
    A second signal acts as usual.
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    previous = {kind: signal.getsignal(kind) for kind in kinds}

    def note(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        ignore_events()
        for kind, handler in previous.items():
            signal.signal(kind, handler)

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield signals
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)


def _directory_name(trial: Trial) -> str:
    """Returns a short name: Tune's own would spell out the whole architecture."""
    return str(trial.trial_id)
