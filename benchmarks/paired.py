"""Paired training runs: does a fusion or a wiring predict better than the plain transformer of the same budget?

    python -m benchmarks.paired --rates         # the learning rate of each family, on another seed
    python -m benchmarks.paired                 # trains what is missing, then prints the table
    python -m benchmarks.paired --seeds 0       # this seed alone; several processes may run beside each other
    python -m benchmarks.paired --times         # forward and training-step time of each, in turn; on a quiet machine
    python -m benchmarks.paired --longer        # the plain model for more steps, for comparisons at equal training time
    python -m benchmarks.paired --table         # prints the table of what is there

For each seed, every contender sees the same data in the same order and shares the starts of all parameters that it
shares with the plain model; differences to plain are computed pair by pair. Every family trains with the best of three
learning rates, chosen with seed 100 after a third of the steps; where the highest is best, twice that is tried too.
`largest 24` and `random 24` have 24 skip connections: those of the largest weights times the norms of the states in a
dense model of seed 100, and other random ones for each seed. At equal time a contender is compared with a plain model
that trains for as many steps as fit into its time, each length with its own schedule (between the lengths that were
trained, the loss is linear in the logarithm of the steps). Finished runs are kept one a line in
`benchmarks/results/paired.jsonl` and not repeated; lines of another setting are ignored.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
from importlib.metadata import version
from typing import Any

import torch

from benchmarks import paired_tables
from benchmarks.cache import Cache, Run, seed_range
from benchmarks.paired_tables import PLAIN
from depthweave.spaces import Architecture, Wiring, costs_of, resolve
from depthweave.spaces.fusions import fusion_family
from depthweave.spaces.skip_connections import wiring_of
from depthweave.spaces.wiring_moves import random_wiring
from depthweave.spaces.wiring_text import parse_rule
from depthweave.trainers import (
    CorpusSpec,
    Recipe,
    TokenSet,
    TrainingState,
    load_corpus,
    measure_in_turn,
    tokenise,
    train,
)
from depthweave.trainers.states import state_profile

DEPTH, BUDGET, HEAD_WIDTH = 12, 300_000, 16
SEEDS = (0, 1, 2, 3, 4)
RATE_SEED = 100
RATES = (2e-3, 4e-3, 8e-3)
HIGHEST_RATE = 3.2e-2
RECIPE = Recipe(
    steps=1500,
    precision="float32",
    batch=16,
    context=128,
    num_evaluations=5,
    evaluation_tokens=131_072,
)
"""10 bytes a parameter."""
LONGER = (1.25, 1.5, 1.75)
"""Lengths of further trainings of the plain model; the slowest contender takes 1.7 times the plain model's step."""
SPARSE = 24
"""Skip connections of the sparse contenders."""

CONTENDERS: dict[str, tuple[str, str]] = {
    "none": ("none", "1x1"),
    "x0": ("dwa", "embed"),
    "mirror": ("dwa", "mirror"),
    "value residual": ("value_residual", "1x1"),
    "dwa 1x1": ("dwa", "1x1"),
    "dwa 1x4": ("dwa", "1x4"),
    "dwa first:2": ("dwa", "first:2"),
    "dwa largest 24": ("dwa", "largest"),
    "dwa random 24": ("dwa", "random"),
    "mudd": ("mudd", "1x1"),
    "mudd2": ("mudd2", "1x1"),
    "mudd4": ("mudd4", "1x1"),
    "attnres": ("attnres", "1x1"),
    "dhc2": ("dhc2", "1x1"),
    "gated2": ("gated2", "1x1"),
}
"""Fusion and wiring by name."""


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("table", "rates", "times", "longer"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--seeds", type=seed_range, default=list(SEEDS), help="for example 0-2")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cache = Cache("paired")
    if asked.times:
        _measure(cache)
    elif not asked.table:
        tokens = tokenise(load_corpus(CorpusSpec()))
        _choose_rates(cache, tokens)
        for seed in () if asked.rates else asked.seeds:
            for length in LONGER if asked.longer else ():
                if not _finished(cache, kind="longer", length=length, seed=seed):
                    _train_longer(cache, length=length, seed=seed, tokens=tokens)
            for name in () if asked.longer else CONTENDERS:
                if not _finished(cache, kind="run", contender=name, seed=seed):
                    _train_contender(cache, name, seed=seed, tokens=tokens)
    runs = sorted(_finished(cache), key=lambda run: list(CONTENDERS).index(run["contender"]))
    print(paired_tables.rates(runs))
    print(paired_tables.losses(runs))
    print(paired_tables.equal_times(runs))
    print(paired_tables.wirings(runs))
    print(paired_tables.courses(runs, tokens_per_step=RECIPE.tokens_per_step))


def family_of(name: str) -> str:
    """Returns the family of a contender's fusion, whose variants share a learning rate."""
    return fusion_family(CONTENDERS[name][0])


def _choose_rates(cache: Cache, tokens: TokenSet) -> None:
    first = {family_of(name): name for name in reversed(CONTENDERS)}
    for family, name in first.items():
        for rate in RATES:
            _try_rate(cache, name, family=family, rate=rate, tokens=tokens)
        # Where the highest is best, higher ones may be better still.
        while (rate := rate_of(cache, name)) == max(
            run["rate"] for run in _finished(cache, kind="rate", family=family)
        ):
            if 2 * rate > HIGHEST_RATE:
                break
            _try_rate(cache, name, family=family, rate=2 * rate, tokens=tokens)


def _try_rate(cache: Cache, name: str, *, family: str, rate: float, tokens: TokenSet) -> None:
    if not _finished(cache, kind="rate", family=family, rate=rate):
        recipe = dataclasses.replace(
            RECIPE, steps=RECIPE.steps // 3, num_evaluations=1, seed=RATE_SEED, learning_rate=rate
        )
        run, _ = _trained(architecture_of(*CONTENDERS[name], tokens.vocabulary), recipe, tokens)
        keep(cache, {"kind": "rate", "family": family, "rate": rate, "contender": name, **run})


def rate_of(cache: Cache, name: str) -> float:
    found = _finished(cache, kind="rate", family=family_of(name))
    best: float = min(found, key=lambda run: run["loss"])["rate"]
    return best


def _train_contender(cache: Cache, name: str, *, seed: int, tokens: TokenSet) -> None:
    recipe = dataclasses.replace(RECIPE, seed=seed, learning_rate=rate_of(cache, name))
    fusion, rule = CONTENDERS[name]
    if rule == "largest":
        wiring = _largest(cache, tokens)
    elif rule == "random":
        wiring = random_wiring(DEPTH, connections=SPARSE, rng=random.Random(seed))
    else:
        wiring = parse_rule(rule).wiring(DEPTH)
    run, _ = _trained(_resolved(fusion, wiring, tokens.vocabulary), recipe, tokens)
    keep(cache, {"kind": "run", "contender": name, "seed": seed, "rate": recipe.learning_rate, **run})


def _train_longer(cache: Cache, *, length: float, seed: int, tokens: TokenSet) -> None:
    recipe = dataclasses.replace(
        RECIPE, steps=round(length * RECIPE.steps), seed=seed, learning_rate=rate_of(cache, PLAIN)
    )
    run, _ = _trained(architecture_of(*CONTENDERS[PLAIN], tokens.vocabulary), recipe, tokens)
    keep(cache, {"kind": "longer", "contender": PLAIN, "length": length, "seed": seed, **run})


def _trained(architecture: Architecture, recipe: Recipe, tokens: TokenSet) -> tuple[Run, TrainingState]:
    state = TrainingState.start(architecture, recipe=recipe, device="cpu")
    evaluations = list(train(state, tokens))
    last = evaluations[-1]
    print(
        f"{architecture.fusion} {recipe.learning_rate:g} seed {recipe.seed}: {last.loss:.4f} ({last.train_s:.0f} s)",
        flush=True,
    )
    run = {
        "loss": last.loss,
        "curve": [[item.tokens, item.loss] for item in evaluations],
        "parameters": costs_of(architecture).parameters,
        "architecture_id": architecture.id,
        "train_s": round(last.train_s, 1),
        "corpus": tokens.corpus,
        "corpus_sha256": tokens.corpus_sha256,
        "torch": version("torch"),
    }
    return run, state


def _largest(cache: Cache, tokens: TokenSet) -> Wiring:
    """Returns the wiring of the largest weights times the norms of the states that they read, of a dense model."""
    dense = "dwa 1x1"
    found = _finished(cache, kind="dense", contender=dense)
    if not found:
        recipe = dataclasses.replace(RECIPE, seed=RATE_SEED, learning_rate=rate_of(cache, dense))
        run, state = _trained(architecture_of(*CONTENDERS[dense], tokens.vocabulary), recipe, tokens)
        rows = [tokens.valid[start : start + RECIPE.context] for start in range(0, 64 * RECIPE.context, RECIPE.context)]
        batch_BT = torch.stack([torch.from_numpy(row.astype("int64")) for row in rows])
        norms = state_profile(state.model, batch_BT).norms
        sizes = [
            [item.site, item.source, abs(item.value) * norms[item.source]]
            for item in state.model.connection_weights(batch_BT)
            if item.source != item.site
        ]
        keep(cache, {"kind": "dense", "contender": dense, "sizes": sizes, **run})
        found = _finished(cache, kind="dense", contender=dense)
    largest = sorted(found[0]["sizes"], key=lambda item: -item[2])[:SPARSE]
    wiring = wiring_of(DEPTH, ((site, source) for site, source, _ in largest))
    assert wiring is not None
    return wiring


def _measure(cache: Cache) -> None:
    tokens = tokenise(load_corpus(CorpusSpec()))
    built = {
        name: architecture_of(fusion, rule, tokens.vocabulary)
        for name, (fusion, rule) in CONTENDERS.items()
        if rule not in ("largest", "random")
    }
    cache.forget(lambda run: run.get("kind") == "times")
    found = measure_in_turn(
        list(built.values()),
        reference=built["none"],
        recipe=RECIPE,
        device=torch.device("cpu"),
        time_limit_s=12.0,
    )
    for name, item in zip(built, found, strict=True):
        values = {key: getattr(item, key) for key in ("latency", "latency_low", "latency_high")}
        values |= {f"step_{key}": getattr(item, f"step_{key}") for key in values}
        keep(cache, {"kind": "times", "contender": name, "memory_bytes": item.memory_bytes, **values})


def architecture_of(fusion: str, rule: str, vocabulary: int) -> Architecture:
    return _resolved(fusion, parse_rule(rule).wiring(DEPTH), vocabulary)


def _resolved(fusion: str, wiring: Wiring, vocabulary: int) -> Architecture:
    return resolve(
        fusion=fusion,
        wiring=wiring,
        budget=BUDGET,
        vocabulary=vocabulary,
        context=RECIPE.context,
        head_width=HEAD_WIDTH,
    )


def _setting() -> dict[str, Any]:
    """Returns what makes runs comparable; a line with another setting is not today's."""
    recipe = {
        name: value for name, value in dataclasses.asdict(RECIPE).items() if name not in ("seed", "learning_rate")
    }
    return json.loads(json.dumps({**recipe, "depth": DEPTH, "budget": BUDGET, "head_width": HEAD_WIDTH}))


def _finished(cache: Cache, **values: Any) -> list[Run]:
    """Returns the lines of today's setting with these values."""
    known = [run for run in cache.runs() if run["setting"] == _setting()]
    return [run for run in known if all(run.get(name) == value for name, value in values.items())]


def keep(cache: Cache, run: Run) -> None:
    cache.keep({**run, "setting": _setting()})


if __name__ == "__main__":
    main()
