"""The ground truth: every architecture of the space trained to its end with a seed, and all measured in turn.

A training is one line, so a killed run loses at most two. Costs do not depend on the seed and are measured once, alone,
after the trainings.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.cache import Cache, Run
from benchmarks.replay import Array
from benchmarks.stock.problem import WORKERS, prepared_of, training_key
from depthweave.search.preparation import PreparedSearch
from depthweave.spaces import Architecture
from depthweave.trainers import TrainingState, hardware, measure_in_turn, train

_MEASURE_LIMIT_S = 5.0
"""Longest time to measure one architecture: six minutes for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """All N architectures of the space, trained with one seed."""

    rows: Mapping[str, int]
    """Row by architecture id."""
    points_NO: Array
    """Perplexity, latency relative to the reference, bytes."""


def complete(cache: Cache, *, overrides: Sequence[str], seeds: Sequence[int]) -> None:
    """Trains and measures what is missing; nothing else should run while it measures."""
    for seed in seeds:
        prepared = prepared_of(overrides, seed=seed)
        missing = _missing(cache.runs(), prepared=prepared)
        if missing:
            print(f"truth, seed {seed}: {len(missing)} of {len(prepared.space)} architectures to train", flush=True)
            _train_all(missing, cache=cache, prepared=prepared)
    prepared = prepared_of(overrides, seed=seeds[0])
    if not _of_kind(cache.runs(), kind="costs", key=training_key(prepared)):
        print("truth: measuring all in turn", flush=True)
        _measure_all(cache, prepared=prepared)


def truth_of(runs: Sequence[Run], *, prepared: PreparedSearch) -> Truth | None:
    """Returns the lines of the seed of `prepared`; `None` if some are missing."""
    key, seed = training_key(prepared), prepared.spec.seed
    trained = {run["architecture_id"]: run for run in _of_kind(runs, kind="training", key=key) if run["seed"] == seed}
    costs = {run["architecture_id"]: run for run in _of_kind(runs, kind="costs", key=key)}
    ids = [item.architecture.id for item in prepared.space]
    if any(name not in trained or name not in costs for name in ids):
        return None
    points = [(trained[name]["perplexity"], costs[name]["latency"], float(costs[name]["memory_bytes"])) for name in ids]
    return Truth(rows={name: row for row, name in enumerate(ids)}, points_NO=np.array(points))


def _of_kind(runs: Sequence[Run], *, kind: str, key: str) -> list[Run]:
    return [run for run in runs if (run["kind"], run["key"]) == (kind, key)]


def _missing(runs: Sequence[Run], *, prepared: PreparedSearch) -> list[Architecture]:
    trained = _of_kind(runs, kind="training", key=training_key(prepared))
    known = {run["architecture_id"] for run in trained if run["seed"] == prepared.spec.seed}
    return [item.architecture for item in prepared.space if item.architecture.id not in known]


def _train_all(architectures: Sequence[Architecture], *, cache: Cache, prepared: PreparedSearch) -> None:
    # Fresh interpreters: torch and its threads do not survive a fork.
    context, key = multiprocessing.get_context("spawn"), training_key(prepared)
    with ProcessPoolExecutor(WORKERS, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(_trained, architecture, prepared) for architecture in architectures]
        for future in as_completed(futures):
            cache.keep({"kind": "training", "key": key, **future.result()})


def _trained(architecture: Architecture, prepared: PreparedSearch) -> Run:
    state = TrainingState.start(architecture, recipe=prepared.spec.recipe, device="cpu")
    evaluations = list(train(state, prepared.data))
    last = evaluations[-1]
    return {
        "architecture_id": architecture.id,
        "seed": prepared.spec.seed,
        "fusion": architecture.fusion,
        "depth": architecture.depth,
        "tokens": [item.tokens for item in evaluations],
        "loss": [item.loss for item in evaluations],
        "perplexity": last.perplexity,
        "train_s": round(last.train_s, 2),
        "corpus_sha256": prepared.data.corpus_sha256,
    }


def _measure_all(cache: Cache, *, prepared: PreparedSearch) -> None:
    torch.set_num_threads(1)
    device, key = torch.device("cpu"), training_key(prepared)
    architectures = [item.architecture for item in prepared.space]
    found = measure_in_turn(
        architectures,
        reference=prepared.reference.architecture,
        recipe=prepared.spec.recipe,
        device=device,
        time_limit_s=_MEASURE_LIMIT_S,
        kinds=("forward",),
    )
    for architecture, item in zip(architectures, found, strict=True):
        cache.keep(
            {
                "kind": "costs",
                "key": key,
                "architecture_id": architecture.id,
                "latency": item.latency,
                "latency_low": item.latency_low,
                "latency_high": item.latency_high,
                "memory_bytes": item.memory_bytes,
                "noise_frac": item.noise_frac,
                "hardware": hardware(device),
            }
        )
