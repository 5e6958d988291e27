"""How much two feed-forward widths differ by chance, for each rule of first weights.

    OMP_NUM_THREADS=1 python -m benchmarks.initialisation                # ten seeds, 40 trainings: ten minutes
    OMP_NUM_THREADS=1 python -m benchmarks.initialisation --seeds 20-24

For each seed a wider and a narrower model of 6 blocks are trained on the same batches, once with each rule for first
weights (`spaces.Initialisation`). A budget gives every architecture a width of its own, so the standard deviation of
this difference is noise in every comparison at an equal budget.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from typing import get_args

import torch

from benchmarks.cache import seed_range
from depthweave.spaces import Architecture, Initialisation, Wiring
from depthweave.trainers import CorpusSpec, Recipe, TokenSet, TrainingState, load_corpus, tokenise, train

FEED_FORWARD = (260, 224)
RECIPE = Recipe(steps=150, batch=16, context=64, num_evaluations=1, evaluation_tokens=16_384)


def main() -> None:
    """Train all pairs and print the differences."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=seed_range, default=list(range(10, 20)), help="for example 0-2")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    tokens = tokenise(load_corpus(CorpusSpec(division="documents")))
    for rule in get_args(Initialisation):
        losses = [[_loss(units, tokens=tokens, seed=seed, rule=rule) for units in FEED_FORWARD] for seed in seeds]
        differences = [wide - narrow for wide, narrow in losses]
        each = " ".join(f"{value:+.4f}" for value in differences)
        sd = statistics.stdev(differences)
        print(f"{rule}: mean {statistics.mean(differences):+.4f}, standard deviation {sd:.4f} nats; {each}", flush=True)


def _loss(units: int, *, tokens: TokenSet, seed: int, rule: Initialisation) -> float:
    architecture = Architecture(
        fusion="none", wiring=Wiring(6), width=64, heads=4, feed_forward=units, vocabulary=256, context=64
    )
    recipe = dataclasses.replace(RECIPE, seed=seed, initialisation=rule)
    *_, last = train(TrainingState.start(architecture, recipe=recipe, device="cpu"), tokens)
    return last.loss


if __name__ == "__main__":
    main()
