"""Trainings of the table, a line each, and the learning rate of each family of fusions."""

from __future__ import annotations

import dataclasses
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache as once
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from benchmarks.cache import Cache, Run
from benchmarks.wide_table.parts import PARTS, RECIPE, space
from depthweave.spaces import Architecture, costs_of
from depthweave.spaces.fusions import fusion_family
from depthweave.spaces.space import Candidate
from depthweave.trainers import CorpusSpec, Recipe, TokenSet, TrainingState, hardware, load_corpus, tokenise, train

LOCKS = Path("runs/wide_table")
RATE_SEED = 100
RATES = (4e-3, 8e-3, 1.6e-2)
HIGHEST_RATE = 6.4e-2


def finished(kept: Cache, part: str) -> dict[tuple[str, int], Run]:
    """Returns the trainings of a part by architecture id and seed."""
    return {(run["architecture_id"], run["seed"]): run for run in kept.runs() if run["part"] == part}


def rates(kept: Cache) -> dict[str, float]:
    """Returns the best learning rate of each family at the width of the small part's 12 blocks."""
    losses: dict[str, dict[float, float]] = defaultdict(dict)
    for run in kept.runs():
        if run["part"] == "rates":
            losses[run["family"]][run["rate"]] = run["loss"][-1]
    return {family: min(found, key=found.__getitem__) for family, found in losses.items()}


def train_all(kept: Cache, *, part: str, seed: int) -> None:
    """Trains what no process has trained or is training."""
    items, chosen = list(space(part)), rates(kept)
    # A fixed random order, so that the existing trainings always span the space.
    random.Random(0).shuffle(items)
    for item in items:
        architecture = item.architecture
        with _claim(f"{part}-{architecture.id}-{seed}") as mine:
            if mine and (architecture.id, seed) not in finished(kept, part):
                rate = chosen[fusion_family(architecture.fusion)] * _rate_width() / architecture.width
                recipe = dataclasses.replace(PARTS[part].recipe, seed=seed, learning_rate=rate)
                rule = None if item.rule is None else str(item.rule)
                run = _trained(architecture, recipe=recipe, part=part)
                kept.keep({"part": part, "wiring": rule, "budget": item.budget, **run})


def choose_rates(kept: Cache) -> None:
    """Tries the learning rates of all families that have none yet."""
    candidates = _rate_candidates()
    # First what is free, then what other processes are at.
    for family, wait in [*((family, False) for family in candidates), *((family, True) for family in candidates)]:
        with _claim(f"rates-{family}", wait=wait) as mine:
            if mine:
                _try_rates(kept, family=family, architecture=candidates[family].architecture)


def _try_rates(kept: Cache, *, family: str, architecture: Architecture) -> None:
    tried = list(RATES)
    for rate in tried:
        if rate not in {run["rate"] for run in kept.runs() if run["part"] == "rates" and run["family"] == family}:
            recipe = dataclasses.replace(RECIPE, steps=RECIPE.steps // 3, seed=RATE_SEED, learning_rate=rate)
            run = _trained(architecture, recipe=recipe, part="small")
            kept.keep({"part": "rates", "family": family, "rate": rate, **run})
        # Where the highest is best, higher ones may be better still.
        if rate == tried[-1] == rates(kept)[family] and 2 * rate <= HIGHEST_RATE:
            tried.append(2 * rate)


def _rate_candidates() -> dict[str, Candidate]:
    """Returns the architecture of each family that chooses its learning rate: the first of 12 blocks."""
    deepest = [item for item in space("small") if item.architecture.depth == 12]
    return {fusion_family(item.architecture.fusion): item for item in reversed(deepest)}


def _rate_width() -> int:
    return next(iter(_rate_candidates().values())).architecture.width


@contextmanager
def _claim(name: str, *, wait: bool = False) -> Iterator[bool]:
    """Holds a training for this process and yields true; false at once where another process holds it."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCKS / f"{name}.lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _trained(architecture: Architecture, *, recipe: Recipe, part: str) -> dict[str, Any]:
    tokens, known = _tokens(english=PARTS[part].english), costs_of(architecture)
    state = TrainingState.start(architecture, recipe=recipe, device="cpu")
    evaluations = list(train(state, tokens))
    last = evaluations[-1]
    name = f"{architecture.fusion} of {architecture.depth} blocks"
    print(
        f"{part} {name} {recipe.learning_rate:g} seed {recipe.seed}: {last.loss:.4f} ({last.train_s:.0f} s)", flush=True
    )
    return {
        "architecture_id": architecture.id,
        "seed": recipe.seed,
        "fusion": architecture.fusion,
        "depth": architecture.depth,
        "width": architecture.width,
        "feed_forward": architecture.feed_forward,
        "learning_rate": recipe.learning_rate,
        "parameters": known.parameters,
        "forward_flops": known.forward_flops,
        "kept_states": known.kept_states,
        "tokens": [found.tokens for found in evaluations],
        "loss": [round(found.loss, 6) for found in evaluations],
        "train_loss": [round(found.train_loss, 6) for found in evaluations],
        "train_s": round(last.train_s, 1),
        "corpus": tokens.corpus,
        "corpus_sha256": tokens.corpus_sha256,
        "torch": version("torch"),
        "hardware": hardware(torch.device("cpu")),
    }


@once
def _tokens(*, english: bool) -> TokenSet:
    spec = CorpusSpec()
    if english:
        spec = CorpusSpec(kind="files", paths=(f"{os.environ['DEPTHWEAVE_DATA']}/wikitext-2/train.txt",))
    return tokenise(load_corpus(spec))
