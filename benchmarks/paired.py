"""Paired training runs: does a fusion or a wiring predict better than the plain transformer of the same budget?

    python -m benchmarks.paired --rates         # the learning rate of each family, on another seed
    python -m benchmarks.paired                 # trains what is missing, then prints the table
    python -m benchmarks.paired --seeds 0       # this seed alone; several processes may run beside each other
    python -m benchmarks.paired --times         # forward and training-step time of each, in turn; on a quiet machine
    python -m benchmarks.paired --table         # prints the table of what is there

For each seed, every contender sees the same data in the same order and shares the starts of all parameters that it
shares with the plain model; differences to plain are computed pair by pair. Every family trains with the best of three
learning rates, chosen with seed 100 after a third of the steps; where the highest is best, twice that is tried too.
`largest 24` and `random 24` have 24 skip connections: those of the largest weights times the norms of the states in a
dense model of seed 100, and other random ones for each seed. Finished runs are kept one a line in
`benchmarks/results/paired.jsonl` and not repeated; lines of another setting are ignored.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
from importlib.metadata import version
from typing import Any

import torch

from benchmarks.cache import Cache, Run, seed_range
from depthweave.reports.analysis.intervals import mean_interval
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
    for name in ("table", "rates", "times"):
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
            for name in CONTENDERS:
                if not _finished(cache, kind="run", contender=name, seed=seed):
                    _train_contender(cache, name, seed=seed, tokens=tokens)
    print(rates_line(cache))
    print(table(cache))
    print(courses(cache))


def family_of(name: str) -> str:
    """Returns the family of a contender's fusion, whose variants share a learning rate."""
    return fusion_family(CONTENDERS[name][0])


def table(cache: Cache) -> str:
    """Returns mean losses and mean paired differences to plain with 95 % intervals, nats a token (byte)."""
    runs = _finished(cache, kind="run")
    losses = {(run["contender"], run["seed"]): run["loss"] for run in runs}
    times = {run["contender"]: run for run in _finished(cache, kind="times")}
    rows = [
        "| contender | parameters | seeds | loss | difference to plain | 95 % interval | each | forward | step |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in CONTENDERS:
        mine = [run for run in runs if run["contender"] == name]
        seeds = sorted(run["seed"] for run in mine if ("none", run["seed"]) in losses)
        if not seeds:
            continue
        pairs = [losses[name, seed] - losses["none", seed] for seed in seeds]
        found = mean_interval(pairs)
        low_high = "too few seeds"
        if found.half_width is not None:
            low_high = f"[{found.mean - found.half_width:+.4f}, {found.mean + found.half_width:+.4f}]"
        text = f"{found.mean:+.4f} | {low_high} | {' '.join(f'{pair:+.4f}' for pair in pairs)} |"
        loss = statistics.fmean(losses[name, seed] for seed in seeds)
        beside = [f"{times[name][key]:.2f}" if name in times else "" for key in ("latency", "step_latency")]
        rows.append(
            f"| {name} | {mine[0]['parameters']:,} | {len(seeds)} | {loss:.4f} "
            f"| {'| | |' if name == 'none' else text} {' | '.join(beside)} |"
        )
    return "\n".join(rows)


def courses(cache: Cache) -> str:
    """Returns the mean difference to plain at each evaluation of the trainings, nats a token (byte)."""
    curves = {(run["contender"], run["seed"]): run["curve"] for run in _finished(cache, kind="run")}
    num_steps = {tokens // RECIPE.tokens_per_step: None for curve in curves.values() for tokens, _ in curve}
    rows = [
        f"| difference to plain after | seeds | {' | '.join(f'{step:,} steps' for step in num_steps)} |",
        "|---|---|" + "---|" * len(num_steps),
    ]
    for name in CONTENDERS:
        pairs = [
            [mine - plain for (_, mine), (_, plain) in zip(curve, curves["none", seed], strict=True)]
            for (contender, seed), curve in curves.items()
            if contender == name != "none" and ("none", seed) in curves
        ]
        if pairs:
            means = (statistics.fmean(own) for own in zip(*pairs, strict=True))
            rows.append(f"| {name} | {len(pairs)} | {' | '.join(f'{mean:+.4f}' for mean in means)} |")
    return "\n".join(rows)


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


def rates_line(cache: Cache) -> str:
    families = dict.fromkeys(family_of(name) for name in CONTENDERS)
    found = {family: _finished(cache, kind="rate", family=family) for family in families}
    lines = [
        f"{family}: " + ", ".join(f"{run['rate']:g} {run['loss']:.4f}" for run in sorted(runs, key=lambda r: r["rate"]))
        for family, runs in found.items()
        if runs
    ]
    return "Loss by learning rate, seed 100: " + "; ".join(lines)


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
        time_limit_s=30.0,
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
