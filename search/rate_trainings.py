"""Chooses the learning rate of each fusion family and depth before the first trial, where the spec gives several.

One rate for all would decide which fusion is best. So of each family and depth one architecture, the one with the most
skip connections at the smallest budget, trains with every rate for a third of a trial's steps. The seed is another one
than the trials' own: a rate that was chosen with it would favour their noise.

The trainings are run like trials, with hang detection, retries and checkpoints, but they are none: they are in no
study and no record. `learning_rates.json` has each of them as soon as it ends, and a resumed search runs the others.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from depthweave.reports.analysis.learning_rates import group_text, rates_sentences
from depthweave.reports.analysis.source_runs import trained_here
from depthweave.reports.store.learning_rates import (
    RateGroup,
    RateTraining,
    RateTrainings,
    read_rate_trainings,
    write_rate_trainings,
)
from depthweave.search.learning_rates import ONE_RATE, group_of, representatives, short_recipe
from depthweave.search.planned_trainings import PlannedTrainings
from depthweave.search.search_run import SearchRun
from depthweave.search.trial_plan import plan_of
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.recording import outcome_of
from depthweave.search.tune.loop import Ending, run_trials
from depthweave.spaces.space import Candidate

CHECKPOINTS = "rate_checkpoints"
"""Folder of a run with the checkpoints of these trainings; it is empty once they have ended."""


def run_rate_trainings(run: SearchRun, *, workers: int, deadline: float) -> Ending:
    """Runs the trainings that the run folder lacks on the connected cluster; returns how they ended.

    There is nothing to run where the spec gives one rate, or once the search has begun.
    """
    spec = run.prepared.spec
    if not spec.learning_rates or run.journal.path.exists() or trained_here(run.store.records()):
        return "done"
    ledger = RateLedger(run, workers=workers)
    if ledger.ended:
        return "done"
    run.progress.on_phase(f"choosing learning rates: {ledger.counted}")
    plan = dataclasses.replace(
        plan_of(run),
        recipe=short_recipe(spec),
        rates=ONE_RATE,
        # Their cost is of no interest.
        measure_limit_s=0.0,
        kinds=("forward",),
        checkpoints=run.store.storage.address(CHECKPOINTS),
    )
    ending = run_trials(
        ledger,
        # Loggers are for trials.
        spec=spec.model_copy(update={"loggers": ()}),
        plan=plan,
        data=run.prepared.data.without_test(),
        deadline=deadline,
        on_tick=run.progress.on_tick,
    )
    if ending == "done":
        if run.store.storage.is_local:
            with suppress(OSError):
                os.rmdir(run.store.storage.address(CHECKPOINTS))
        for line in rates_sentences(ledger.found):
            run.progress.on_note(line)
    return ending


class RateLedger(PlannedTrainings):
    """The trainings of every representative with every rate. Each is written to the run folder when it ends."""

    def __init__(self, run: SearchRun, *, workers: int) -> None:
        spec = run.prepared.spec
        self._run, self._recipe = run, short_recipe(spec)
        self._checkpoints = Checkpoints(run.store.storage.address(CHECKPOINTS))
        kept = read_rate_trainings(run.store)
        self.found = kept or RateTrainings(
            run_id=run.store.info.run_id,
            steps=self._recipe.steps,
            tokens=self._recipe.tokens,
            seed=self._recipe.seed,
        )
        all_of_them = _planned(representatives(run.prepared.space), rates=spec.learning_rates)
        self._total = len(all_of_them)
        ended = {(item.architecture_id, item.learning_rate) for item in self.found.trainings}
        planned = [live for live in all_of_them if (live.candidate.architecture.id, live.learning_rate) not in ended]
        super().__init__(planned, workers=workers, retries=spec.search.retries)

    @property
    def counted(self) -> str:
        """How many of the trainings have ended."""
        return f"{len(self.found.trainings)} of {self._total} trainings of {self._recipe.steps:,} steps"

    def keep(self, live: LiveTrial, *, crashed: bool) -> None:
        assert live.learning_rate is not None
        quality = self._run.prepared.task.quality
        outcome = outcome_of(live, crashed=crashed, steps=self._recipe.steps, max_loss=quality.max_loss)
        group = group_of(live.candidate.architecture)
        loss = live.evaluations[-1].loss if outcome.state == "complete" else None
        training = RateTraining(
            family=group.family,
            depth=group.depth,
            architecture_id=live.candidate.architecture.id,
            width=live.candidate.architecture.width,
            learning_rate=live.learning_rate,
            loss=loss,
            reason=outcome.reason,
        )
        self.found = dataclasses.replace(self.found, trainings=(*self.found.trainings, training))
        write_rate_trainings(self._run.store, self.found)
        self._checkpoints.drop(live.number, keep_weights=False)
        result = f"loss {loss:.4f}" if loss is not None else f"{outcome.state}: {outcome.reason}"
        self._run.progress.on_phase(
            f"choosing learning rates: {self.counted}; {group_text([group])} at {live.learning_rate:g}: {result}"
        )

    def on_start(self, live: LiveTrial) -> None:
        """Nothing to do: the display is of trials."""

    def on_evaluation(self, live: LiveTrial) -> None:
        """Nothing to do, for the same reason."""


def _planned(found: dict[RateGroup, Candidate], *, rates: Sequence[float]) -> list[LiveTrial]:
    """Returns a training of each candidate with each rate. Their numbers name the folders of their checkpoints."""
    pairs = [(candidate, rate) for candidate in found.values() for rate in rates]
    return [
        LiveTrial(number=number, candidate=candidate, started_at=datetime.now(UTC), learning_rate=rate)
        for number, (candidate, rate) in enumerate(pairs)
    ]
