"""The Ray Tune loop of a search: trials run until the book has no more, time is up, or the user stops it."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from ray import tune
from ray.tune.experiment import Trial

from depthweave.search.entry import Ledger
from depthweave.search.loggers import make_loggers
from depthweave.search.placement import Placement, bundle
from depthweave.search.scheduler import BookScheduler
from depthweave.search.searcher import BookSearcher
from depthweave.search.spec import Spec
from depthweave.search.trial import ArchitectureTrial, TrialPlan
from depthweave.trainers import TokenSet

Ending = Literal["done", "time", "interrupted"]


def run_trials(
    book: Ledger, *, spec: Spec, plan: TrialPlan, tokens: TokenSet, deadline: float, on_tick: Callable[[], None]
) -> Ending:
    """Run trials on the connected cluster until the book ends; what was in flight waits for the run to continue.

    `deadline`, by the clock `time.monotonic`, is when they stop at the latest; infinite where that is never.
    """
    with _stop_signals() as signalled, tempfile.TemporaryDirectory(prefix="depthweave-") as scratch:
        watch = _Watch(signalled, deadline=deadline, on_tick=on_tick)
        try:
            # Not Tuner: it pickles searcher and scheduler, which hold the run's open journal and store.
            tune.run(
                tune.with_parameters(ArchitectureTrial, tokens=tokens, plan=plan),
                resources_per_trial=tune_bundle(spec, placement=plan.placement),
                search_alg=BookSearcher(book),
                scheduler=BookScheduler(book),
                num_samples=-1,
                reuse_actors=True,
                max_failures=spec.search.retries,
                raise_on_failed_trial=False,
                callbacks=[*make_loggers(spec.loggers, folder=Path(plan.locks), run_id=plan.run_id), watch],
                verbose=0,
                # Tune insists on a folder for its own state; ours is the journal and the store, so it goes.
                name="tune",
                storage_path=scratch,
                trial_dirname_creator=_directory_name,
            )
        except _SearchEnd as end:
            return end.ending
        finally:
            book.close()
    return "done"


def tune_bundle(spec: Spec, *, placement: Placement) -> tune.PlacementGroupFactory:
    """What a trial asks of a node, and of which nodes, as Tune wants it said."""
    # Named only where it is needed: older Rays know no selectors.
    selector = placement.selector()
    named = {"bundle_label_selector": [selector]} if selector else {}
    return tune.PlacementGroupFactory([bundle(spec.resources)], **named)


class _SearchEnd(BaseException):
    """Leaves Tune's loop at once. Not an `Exception`: Tune would first wait for its workers to end their steps."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


class _Watch(tune.Callback):
    """Looks at the clock and the signals between two events, where journal and store are whole.

    And it tidies up: a search may have thousands of trials.
    """

    def __init__(self, signalled: threading.Event, *, deadline: float, on_tick: Callable[[], None]) -> None:
        self._signalled, self._deadline, self._on_tick = signalled, deadline, on_tick

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._signalled.is_set():
            raise _SearchEnd("interrupted")
        if time.monotonic() > self._deadline:
            raise _SearchEnd("time")
        self._on_tick()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        _forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        _forget(trial)


def _forget(trial: Trial) -> None:
    """Free what Tune keeps of a trial that ended: its last report, and statistics of every number in all of them."""
    kept = trial.run_metadata
    # Not empty: Tune would ask the worker for a first result.
    kept.last_result = {"done": True}
    kept.metric_analysis, kept.metric_n_steps = {}, {}


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second one acts as ever. Off the main thread there are no signals."""
    signalled = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield signalled
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    former = {kind: signal.getsignal(kind) for kind in kinds}

    def note(number: int, frame: FrameType | None) -> None:
        signalled.set()
        for kind, handler in former.items():
            signal.signal(kind, handler)

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield signalled
    finally:
        for kind, handler in former.items():
            signal.signal(kind, handler)


def _directory_name(trial: Trial) -> str:
    """Tune would make a folder's name of the whole architecture."""
    return str(trial.trial_id)
