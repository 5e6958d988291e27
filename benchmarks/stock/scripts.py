"""A competent user's scripts for the quick search with Ray Tune and Optuna, after their documentation.

    python -m benchmarks.stock.scripts "ray + optuna" FOLDER --seed 0

Both use Depthweave's public parts: the resolver of architectures, the trainer, and the measurement with its lock
between processes. The space is conditional, as both documentations show: the plain transformer has no dilation
and no period. A combination that cannot be built raises, and is a failed trial. Everything else is as shipped,
except the number of evaluations for ASHA's longest training.

Source: docs.ray.io, "Running Tune experiments with Optuna" and `ray.tune.schedulers.ASHAScheduler`, Ray 2.60;
optuna.readthedocs.io, "Easy Parallelization", "(File-based) Journal Storage" and "Efficient Optimization Algorithms",
Optuna 5.0.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import optuna
import torch
from optuna.storages.journal import JournalFileBackend

from benchmarks.stock.problem import WORKERS, Finished, prepared_of, write_finished
from depthweave.search.preparation import PreparedSearch
from depthweave.search.spec.space_spec import SpaceSpec
from depthweave.spaces import Architecture, BudgetError, Wiring, resolve, strided_wiring
from depthweave.spaces.block_style import block_style_of
from depthweave.trainers import TrainingState, train
from depthweave.trainers.device_lock import DeviceLock
from depthweave.trainers.measure import measure

OBJECTIVES = ("perplexity", "latency", "memory_bytes")
Result = dict[str, Any]
"""What a trial reports at an evaluation."""


# The trial: common to all scripts.


def suggest(trial: Any, space: SpaceSpec) -> None:
    """The space, define-by-run."""
    fusion = trial.suggest_categorical("fusion", list(space.fusions))
    trial.suggest_categorical("depth", list(space.depths))
    if fusion != "none":
        trial.suggest_categorical("dilation", list(space.dilations))
        trial.suggest_categorical("period", list(space.periods))


def architecture_of(config: Mapping[str, Any], prepared: PreparedSearch) -> Architecture:
    """The architecture of suggested values; raises `BudgetError` where none meets the budget."""
    space, depth = prepared.spec.space, config["depth"]
    wiring = Wiring(depth)
    if config["fusion"] != "none":
        period = depth if config["period"] == "depth" else config["period"]
        wiring = strided_wiring(depth, dilation=config["dilation"], period=period)
    return resolve(
        fusion=config["fusion"],
        wiring=wiring,
        budget=space.budgets[0],
        vocabulary=prepared.data.vocabulary,
        context=prepared.spec.recipe.context,
        head_width=space.head_width,
        width=space.width,
        sizing=space.sizing,
        block=block_style_of(space.block),
    )


def evaluations(config: Mapping[str, Any], prepared: PreparedSearch, *, locks: Path) -> Iterator[Result]:
    """Build, measure, train; a result at every evaluation. `locks` is the folder of the processor's lock."""
    torch.set_num_threads(1)
    recipe, device = prepared.spec.recipe, torch.device("cpu")
    architecture = architecture_of(config, prepared)
    measured = measure(
        architecture,
        reference=prepared.reference.architecture,
        recipe=recipe,
        device=device,
        time_limit_s=prepared.spec.resources.measure_limit_s,
        lock=DeviceLock(locks, device=device),
        kinds=("forward",),
    )
    state = TrainingState.start(architecture, recipe=recipe, device="cpu")
    for item in train(state, prepared.data):
        yield {
            "loss": item.loss,
            "perplexity": item.perplexity,
            "latency": measured.latency,
            "memory_bytes": measured.memory_bytes,
            "tokens": item.tokens,
            "is_whole": item.step == recipe.steps,
            "architecture_id": architecture.id,
        }


# Ray Tune.


def ray_optuna(prepared: PreparedSearch, folder: Path, *, asha: bool, reuse_actors: bool) -> list[Finished]:
    """OptunaSearch on all objectives without pruning, or on the loss with ASHA."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    spec, locks = prepared.spec, folder / "locks"

    def trainable(config: dict[str, Any], prepared: PreparedSearch) -> None:
        for result in evaluations(config, prepared, locks=locks):
            tune.report(result)

    scheduler = None
    if asha:
        scheduler = ASHAScheduler(metric="loss", mode="min", max_t=spec.recipe.num_evaluations)
    searcher = OptunaSearch(
        partial(suggest, space=spec.space),
        metric="loss" if asha else list(OBJECTIVES),
        mode="min" if asha else ["min"] * len(OBJECTIVES),
        seed=spec.seed,
    )
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, prepared=prepared), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=spec.search.trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=reuse_actors,
        ),
        run_config=tune.RunConfig(storage_path=str(folder.resolve()), name="tune", verbose=0),
    )
    results = [dict(item.metrics or {}) for item in tuner.fit()]
    ray.shutdown()
    # Reads Optuna's results only for the count: there is no public access.
    complete = {
        trial_id
        for trial_id, trial in searcher._ot_trials.items()
        if searcher._ot_study.trials[trial.number].state == optuna.trial.TrialState.COMPLETE
    }
    return _finished([(result, result.get("trial_id") in complete) for result in results])


# Optuna alone.


def optuna_median(prepared: PreparedSearch, folder: Path) -> list[Finished]:
    """Two processes that share a journal file, the median pruner on the loss."""
    # A fresh interpreter each: torch and its threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    trials = prepared.spec.search.trials
    _study(folder, seed=prepared.spec.seed)
    workers = [
        context.Process(target=_optimise, args=(prepared, folder, number, len(range(number, trials, WORKERS))))
        for number in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError(f"a worker of {folder} ended with an error")
    ended = _study(folder, seed=prepared.spec.seed).trials
    complete = optuna.trial.TrialState.COMPLETE
    return _finished([(dict(trial.user_attrs), trial.state == complete) for trial in ended])


def _study(folder: Path, *, seed: int) -> optuna.Study:
    backend = JournalFileBackend(str(folder / "journal.log"))
    return optuna.create_study(
        study_name="stock",
        storage=optuna.storages.JournalStorage(backend),
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )


def _optimise(prepared: PreparedSearch, folder: Path, number: int, trials: int) -> None:
    def objective(trial: optuna.Trial) -> float:
        suggest(trial, prepared.spec.space)
        result: Result = {}
        for step, result in enumerate(evaluations(trial.params, prepared, locks=folder / "locks")):
            for name, value in result.items():
                trial.set_user_attr(name, value)
            trial.report(result["loss"], step)
            if trial.should_prune() and not result["is_whole"]:
                raise optuna.TrialPruned()
        return float(result["loss"])

    # A different seed in each process: with the same seed they would propose the same.
    study = _study(folder, seed=prepared.spec.seed * WORKERS + number)
    study.optimize(objective, n_trials=trials, catch=(BudgetError,))


# The user's results at the end.


def _finished(results: list[tuple[Result, bool]]) -> list[Finished]:
    """Returns the trials with their last results; the front is that of all that Optuna has as complete."""
    found = [
        Finished(
            architecture_id=result.get("architecture_id"),
            tokens=int(result.get("tokens", 0)),
            is_whole=bool(result.get("is_whole", False)),
            is_reported_complete=is_complete,
            is_on_front=False,
            perplexity=result.get("perplexity"),
        )
        for result, is_complete in results
    ]
    rows = [row for row, item in enumerate(found) if item.is_reported_complete and item.architecture_id is not None]
    points_NO = np.array([[results[row][0][name] for name in OBJECTIVES] for row in rows], dtype=float)
    finite = [row for row, point in zip(rows, points_NO, strict=True) if all(map(math.isfinite, point))]
    if not finite:
        return found
    points_NO = points_NO[[rows.index(row) for row in finite]]
    on_front = moocore.is_nondominated(points_NO, keep_weakly=True)
    members = {row for row, is_member in zip(finite, on_front, strict=True) if is_member}
    return [replace(item, is_on_front=row in members) for row, item in enumerate(found)]


SCRIPTS: dict[str, Callable[[PreparedSearch, Path], list[Finished]]] = {
    "ray + optuna": lambda prepared, folder: ray_optuna(prepared, folder, asha=False, reuse_actors=False),
    "ray + optuna, reuse": lambda prepared, folder: ray_optuna(prepared, folder, asha=False, reuse_actors=True),
    "ray + optuna + asha": lambda prepared, folder: ray_optuna(prepared, folder, asha=True, reuse_actors=False),
    "ray + optuna + asha, reuse": lambda prepared, folder: ray_optuna(prepared, folder, asha=True, reuse_actors=True),
    "optuna, 2 processes + median": optuna_median,
}
"""`reuse`: Ray gives a trial the process of an earlier one, which is not its default."""


def main() -> None:
    """Run one script into a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("script", choices=SCRIPTS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    wanted = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    prepared = prepared_of(wanted.set, seed=wanted.seed)
    write_finished(SCRIPTS[wanted.script](prepared, wanted.folder), folder=wanted.folder)


if __name__ == "__main__":
    main()
