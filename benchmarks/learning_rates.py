"""Does a learning rate that short trainings of a small model chose suit long trainings, and a larger model?

    python -m benchmarks.learning_rates             # trains what is missing (an hour of a core), then prints the tables
    python -m benchmarks.learning_rates --table     # prints the tables of what is there

A search with several rates chooses at a third of the steps at the smallest budget. The targets are all steps there,
five times as many, which is 20 tokens a parameter, and all steps at four times the parameters, which is twice the
width. Each fusion trains with each rate and two seeds. A regret is the loss with the chosen rate less the lowest one,
for the choice of each seed. Finished runs are kept one a line in `benchmarks/results/learning_rates.jsonl` and not
repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from typing import NamedTuple

import torch

from benchmarks.cache import Cache
from depthweave.spaces import Architecture, resolve
from depthweave.spaces.wiring_text import parse_rule
from depthweave.trainers import CorpusSpec, Recipe, TokenSet, TrainingState, load_corpus, tokenise, train

FUSIONS = ("none", "dwa", "attnres", "gated2")
RATES = (4e-3, 8e-3, 1.6e-2)
SEEDS = (100, 101)
DEPTH, HEAD_WIDTH, VOCABULARY = 6, 16, 256
RECIPE = Recipe(steps=300, precision="float32", batch=16, context=128, num_evaluations=1, evaluation_tokens=131_072)


class Setting(NamedTuple):
    """How large the models are, and how long they train."""

    budget: int
    steps: int


CHOICE = Setting(150_000, RECIPE.steps // 3)
"""As a search chooses. The width is 48."""
TARGETS = {
    "20 tokens a parameter": Setting(150_000, 5 * RECIPE.steps),
    "all steps": Setting(150_000, RECIPE.steps),
    "all steps, four times the size": Setting(600_000, RECIPE.steps),
}
"""What the choice is for. The width of the last is 96. The first is long: it has two fusions alone."""


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="only print what is there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cache = Cache("learning_rates")
    if not asked.table:
        tokens = tokenise(load_corpus(CorpusSpec()))
        for setting in (CHOICE, *TARGETS.values()):
            for seed in SEEDS:
                for fusion in FUSIONS if setting.steps <= RECIPE.steps else FUSIONS[:2]:
                    for rate in RATES:
                        _train_once(cache, fusion, setting, rate=rate, seed=seed, tokens=tokens)
    print(loss_table(cache))
    print(regret_table(cache))


def losses_of(cache: Cache, fusion: str, setting: Setting) -> dict[float, list[float]]:
    """Returns the losses by rate, a value a seed; empty unless every rate and seed is there."""
    found = {
        (run["rate"], run["seed"]): run["loss"]
        for run in cache.runs()
        if (run["fusion"], run["budget"], run["steps"]) == (fusion, *setting)
    }
    if not all((rate, seed) in found for rate in RATES for seed in SEEDS):
        return {}
    return {rate: [found[rate, seed] for seed in SEEDS] for rate in RATES}


def best_of(losses: dict[float, list[float]]) -> float:
    """Returns the rate of the lowest mean loss."""
    return min(losses, key=lambda rate: statistics.fmean(losses[rate]))


def regrets_of(cache: Cache, fusion: str, target: Setting) -> list[float]:
    """Returns the regret of each seed's choice in the target, nats a token, over both seeds of the target."""
    short, long = losses_of(cache, fusion, CHOICE), losses_of(cache, fusion, target)
    if not short or not long:
        return []
    lowest = statistics.fmean(long[best_of(long)])
    chosen = [min(RATES, key=lambda rate: short[rate][place]) for place in range(len(SEEDS))]
    return [statistics.fmean(long[rate]) - lowest for rate in chosen]


def loss_table(cache: Cache) -> str:
    """Returns the mean loss of each fusion and setting by rate, the lowest one bold."""
    lines = ["| fusion | parameters | steps | " + " | ".join(f"{rate:g}" for rate in RATES) + " |"]
    lines.append("|" + "---|" * (3 + len(RATES)))
    for fusion in FUSIONS:
        for setting in (CHOICE, *TARGETS.values()):
            losses = losses_of(cache, fusion, setting)
            if losses:
                best = best_of(losses)
                means = {rate: f"{statistics.fmean(own):.3f}" for rate, own in losses.items()}
                cells = " | ".join(f"**{text}**" if rate == best else text for rate, text in means.items())
                lines.append(f"| {fusion} | {setting.budget:,} | {setting.steps} | {cells} |")
    return "\n".join(lines)


def regret_table(cache: Cache) -> str:
    """Returns by target the regret of the choices beside that of one rate for all."""
    lines = ["| target | choice | mean regret, nats | worst |", "|---|---|---|---|"]
    for name, target in TARGETS.items():
        long = {fusion: losses for fusion in FUSIONS if (losses := losses_of(cache, fusion, target))}
        rows = {"short trainings": [value for fusion in long for value in regrets_of(cache, fusion, target)]}
        for rate in RATES:
            rows[f"{rate:g} for all"] = [
                statistics.fmean(own[rate]) - statistics.fmean(own[best_of(own)]) for own in long.values()
            ]
        lines += [
            f"| {name} | {choice} | {statistics.fmean(values):.4f} | {max(values):.4f} |"
            for choice, values in rows.items()
            if values
        ]
    return "\n".join(lines)


def architecture_of(fusion: str, setting: Setting) -> Architecture:
    """Returns the dense architecture of the fusion that meets the setting's budget."""
    return resolve(
        fusion=fusion,
        wiring=parse_rule("1x1").wiring(DEPTH),
        budget=setting.budget,
        vocabulary=VOCABULARY,
        context=RECIPE.context,
        head_width=HEAD_WIDTH,
    )


def _train_once(cache: Cache, fusion: str, setting: Setting, *, rate: float, seed: int, tokens: TokenSet) -> None:
    key = {"fusion": fusion, **setting._asdict(), "rate": rate, "seed": seed}
    if any(key.items() <= run.items() for run in cache.runs()):
        return
    architecture = architecture_of(fusion, setting)
    recipe = dataclasses.replace(RECIPE, steps=setting.steps, seed=seed, learning_rate=rate)
    (last,) = train(TrainingState.start(architecture, recipe=recipe, device="cpu"), tokens)
    print(f"{key}: {last.loss:.4f} ({last.train_s:.0f} s)", flush=True)
    cache.keep({**key, "loss": last.loss, "width": architecture.width, "corpus_sha256": tokens.corpus_sha256})


if __name__ == "__main__":
    main()
