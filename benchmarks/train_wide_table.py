"""Trains the second edition of the connectivity table: all fusions, twenty tokens a parameter, two sizes, two texts.

    python -m benchmarks.train_wide_table                  # trains what is missing; as many at once as there are cores
    python -m benchmarks.train_wide_table --part small     # of one part alone
    python -m benchmarks.train_wide_table --progress       # how much is there, and how the families compare so far

About fifteen hours of one core. Each family of fusions has the best of some learning rates, chosen with another seed
after a third of the steps at 12 blocks; at other widths the rate is inversely proportional to the width. The parts:

small    all fusions and wirings at 6 and 12 blocks with 100,000 parameters
large    a third of them with 200,000 parameters
english  a quarter of them on WikiText-2, of which DEPTHWEAVE_DATA names the folder

A finished training is a line of `benchmarks/results/wide_table.jsonl`, so a killed worker loses one training. Workers
claim a training by a file lock.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import statistics
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
from depthweave.spaces import Architecture, costs_of
from depthweave.spaces.fusions import fusion_family
from depthweave.spaces.space import Axes, Candidate, SearchSpace, enumerate_space
from depthweave.trainers import CorpusSpec, Recipe, TokenSet, TrainingState, hardware, load_corpus, tokenise, train

LOCKS = Path("runs/wide_table")
SEEDS = (0, 1)
RATE_SEED = 100
RATES = (4e-3, 8e-3, 1.6e-2)
HIGHEST_RATE = 6.4e-2
FUSIONS = (
    *("none", "dwa", "dwatt", "concat", "mudd", "mudd2", "mudd4", "attnres", "hc2", "dhc2", "mhc2", "gated2"),
    "value_residual",
)
WIRINGS = ("1x1", "2x1", "4x1", "1x2", "1x4", "4x4", "1xdepth", "first:2", "window:3", "pow2", "mirror", "embed")
RECIPE = Recipe(steps=1075, precision="float32", batch=16, context=128, num_evaluations=10, evaluation_tokens=65_536)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The architectures of one size on one text."""

    wirings: tuple[str, ...]
    budget: int = 100_000
    steps: int = RECIPE.steps
    """Twenty tokens a parameter at least, the embedding included."""
    english: bool = False

    @property
    def axes(self) -> Axes:
        """The axes of the part's space."""
        return Axes(
            fusions=FUSIONS,
            dilations=(),
            periods=(),
            wirings=self.wirings,
            depths=(6, 12),
            budgets=(self.budget,),
            vocabulary=256,
            context=RECIPE.context,
            head_width=16,
        )


PARTS = {
    "small": Part(wirings=WIRINGS),
    "large": Part(wirings=("1x1", "1x4", "first:2"), budget=200_000, steps=2 * RECIPE.steps),
    "english": Part(wirings=("1x1", "first:2"), english=True),
}


def main() -> None:
    """Trains what is missing, or says how much is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="may be given several times; the default is all")
    parser.add_argument("--progress", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = Cache("wide_table")
    parts = asked.part or list(PARTS)
    if not asked.progress and any(PARTS[part].english for part in parts) and "DEPTHWEAVE_DATA" not in os.environ:
        parser.error(
            "DEPTHWEAVE_DATA is not set: name the folder of wikitext-2 there, or say --part small --part large"
        )
    if not asked.progress:
        _choose_rates(kept)
    for part in parts:
        if not asked.progress:
            for seed in SEEDS:
                _train_all(kept, part=part, seed=seed)
        print(progress(kept, part))


@once
def space(part: str) -> SearchSpace:
    """Returns the space of a part."""
    return enumerate_space(PARTS[part].axes)


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


def progress(kept: Cache, part: str) -> str:
    """Returns how much of a part is there, and each family's best difference to the plain model of its depth."""
    whole, found = space(part), finished(kept, part)
    lines = [f"{part}: {len(found)} of {len(SEEDS) * len(whole)} trainings of {len(whole)} architectures"]
    best: dict[tuple[str, int], tuple[float, str]] = {}
    for item in whole:
        fusion, depth = item.architecture.fusion, item.architecture.depth
        plain = whole.plain(depth=depth).architecture.id
        pairs = [
            found[item.architecture.id, seed]["loss"][-1] - found[plain, seed]["loss"][-1]
            for seed in SEEDS
            if (item.architecture.id, seed) in found and (plain, seed) in found
        ]
        if pairs and fusion != "none":
            mean = statistics.fmean(pairs), f"{item.rule} ({len(pairs)} seeds)"
            best[fusion, depth] = min(mean, best.get((fusion, depth), mean))
    rows = [f"| {fusion} | {depth} | {mean:+.4f} | {name} |" for (fusion, depth), (mean, name) in best.items()]
    return "\n".join([*lines, "| fusion | blocks | lowest difference to plain | wiring |", "|---|---|---|---|", *rows])


def _train_all(kept: Cache, *, part: str, seed: int) -> None:
    items, chosen = list(space(part)), rates(kept)
    # A fixed random order, so that the existing trainings always span the space.
    random.Random(0).shuffle(items)
    for item in items:
        architecture = item.architecture
        with _claim(f"{part}-{architecture.id}-{seed}") as mine:
            if mine and (architecture.id, seed) not in finished(kept, part):
                rate = chosen[fusion_family(architecture.fusion)] * _rate_width() / architecture.width
                recipe = dataclasses.replace(RECIPE, steps=PARTS[part].steps, seed=seed, learning_rate=rate)
                rule = None if item.rule is None else str(item.rule)
                run = _trained(architecture, recipe=recipe, part=part)
                kept.keep({"part": part, "wiring": rule, "budget": item.budget, **run})


def _choose_rates(kept: Cache) -> None:
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


if __name__ == "__main__":
    main()
