"""A trial costs its search little more after a thousand others than after ten: in the book, and with Ray."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from ray.air.execution._internal import RayActorManager

from benchmarks.search_overhead import instant_search, instant_setting, made_up_report
from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch, create_run
from depthweave.search.pruners import make_pruner
from depthweave.search.samplers import DistinctSampler
from depthweave.search.study.studies import Studies
from depthweave.search.trial_ledger import TrialLedger
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import Decision
from depthweave.search.trials.recording import RecordMaker
from tests.search.ledger_runs import RecordingListener

_MAX_GROWTH = 3.0
"""Of the processor time of a trial after a thousand others: lists of that length are walked, and little else.

Measured 1.9 on a busy machine.
"""
_MAX_GROWTH_ON_RAY = 1.5
"""After a hundred others; measured 1.05."""


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def open_ledger(prepared: PreparedSearch, store: RunStore) -> TrialLedger:
    parameters, info = Parameters(prepared.space), store.info
    studies = Studies(
        Path(store.journal_path),
        objectives=info.objectives,
        sampler=DistinctSampler(parameters, make=_random, seed=0),
        pruner=make_pruner("median", options={}),
        parameters=parameters,
    )
    maker = RecordMaker(
        run_id=info.run_id,
        reference_id=info.reference_id,
        recipe=prepared.spec.recipe,
        task=prepared.task,
        data=prepared.data,
        software=info.software,
        device="cpu",
    )
    return TrialLedger(
        store=store,
        studies=studies,
        space=prepared.space,
        maker=maker,
        checkpoints=Checkpoints(Path(store.journal_path).parent / "checkpoints"),
        max_trials=len(prepared.space),
        max_concurrent=1,
        retries=0,
        listener=RecordingListener(),
    )


def run_trial(ledger: TrialLedger, prepared: PreparedSearch) -> None:
    """One trial that ends by itself or is stopped."""
    recipe = prepared.spec.recipe
    live = ledger.next("a")
    assert live is not None
    generator = np.random.default_rng(live.number)
    loss, memory_bytes = float(generator.uniform(2.0, 4.0)), int(generator.integers(10**6, 10**7))
    for index in range(recipe.num_evaluations):
        ledger.report("a", made_up_report(recipe, index=index, loss=loss, memory_bytes=memory_bytes, weights=()))
        if ledger.decide("a") is not Decision.CONTINUE:
            break
    ledger.finish("a", crashed=False)


def growth(ended_s: Sequence[float], *, count: int) -> float:
    """How many times as long as one of the first `count` trials one of the last took, but for the very first ones."""
    taken_s = np.diff(ended_s)[10:]
    # Medians: now and then parts are gathered into a batch.
    return float(np.median(taken_s[-count:]) / np.median(taken_s[:count]))


@pytest.mark.release
@pytest.mark.timeout(600)
def test_ledger_spends_little_more_on_the_thousandth_trial_than_on_the_tenth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the same for every trial, and most of the time
    prepared = instant_setting(tmp_path, trials=2000, workers=1, sampler="random", pruner="median")
    ledger = open_ledger(prepared, create_run(prepared, out=tmp_path / "run"))
    ended_s = []
    for _ in range(1000):
        run_trial(ledger, prepared)
        ended_s.append(time.process_time())
    assert growth(ended_s, count=100) < _MAX_GROWTH


@pytest.mark.release
@pytest.mark.timeout(600)
def test_search_on_ray_spends_no_more_on_late_trials_than_on_early_ones(tmp_path: Path) -> None:
    prepared = instant_setting(tmp_path, trials=150, workers=1, sampler="random", pruner="median")
    course, result = instant_search(prepared, create_run(prepared, out=tmp_path / "run"))
    assert (result.ending, len(result.records)) == ("done", 150)
    assert growth(course.processor_s, count=60) < _MAX_GROWTH_ON_RAY


@pytest.mark.release
@pytest.mark.timeout(600)
def test_each_worker_is_started_once_though_trials_end_while_others_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray Tune by itself started 142 workers for 200 trials, 16 at once.
    started = []

    class Counted(RayActorManager):
        def add_actor(self, *given: Any, **named: Any) -> Any:
            started.append(named["cls"])
            return super().add_actor(*given, **named)

    monkeypatch.setattr("ray.tune.execution.tune_controller.RayActorManager", Counted)
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({"CPU": 4}))
    prepared = instant_setting(tmp_path, trials=60, workers=4, sampler="random", pruner="median")
    _, result = instant_search(prepared, create_run(prepared, out=tmp_path / "run"))
    assert (result.ending, len(result.records)) == ("done", 60)
    assert len(started) == 4
