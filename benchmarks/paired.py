"""Paired training runs: does a fusion predict better than the plain transformer of the same parameter budget?

    python -m benchmarks.paired              # trains what is missing, then prints the table
    python -m benchmarks.paired --table      # only prints the table

For each seed, every contender sees the same data in the same order and shares the starts of all parameters that it
shares with the plain model; differences to plain are computed pair by pair. Finished runs are kept one a line in
`benchmarks/results/paired.jsonl` and not repeated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from depthweave.reports.analysis.intervals import mean_interval
from depthweave.spaces import Architecture, Wiring, costs_of, resolve, strided_wiring
from depthweave.trainers import CorpusSpec, Recipe, TokenSet, TrainingState, load_corpus, tokenise, train

RESULTS = Path(__file__).parent / "results" / "paired.jsonl"
DEPTH, BUDGET, HEAD_WIDTH = 12, 300_000, 16
SEEDS = (0, 1, 2, 3, 4)
RECIPE = Recipe(
    steps=500,
    precision="float32",
    batch=16,
    context=128,
    learning_rate=4e-3,
    num_evaluations=5,
    evaluation_tokens=65_536,
)
CONTENDERS: dict[str, tuple[str, Wiring]] = {
    "none": ("none", Wiring(DEPTH)),
    "dwa 1x1": ("dwa", strided_wiring(DEPTH)),
    "dwa 4x1": ("dwa", strided_wiring(DEPTH, dilation=4)),
    "dwa 1x4": ("dwa", strided_wiring(DEPTH, period=4)),
    "dwatt 1xdepth": ("dwatt", strided_wiring(DEPTH, period=DEPTH)),
    "concat 1xdepth": ("concat", strided_wiring(DEPTH, period=DEPTH)),
}


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the table of what is there, train nothing")
    if not parser.parse_args().table:
        torch.set_num_threads(1)
        tokens = tokenise(load_corpus(CorpusSpec(division="documents")))  # as for the results that are there
        for seed in SEEDS:
            for name in CONTENDERS:
                if (name, seed) not in {(item["contender"], item["seed"]) for item in finished()}:
                    _keep(_run(name, seed=seed, tokens=tokens))
    print(table(finished()))


def finished() -> list[dict[str, Any]]:
    """The runs that are there with today's recipe and sizes."""
    if not RESULTS.exists():
        return []
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return [item for item in lines if item["setting"] == _setting()]


def table(runs: list[dict[str, Any]]) -> str:
    """Mean loss, mean paired difference to plain with its 95 % interval, and each difference, nats a token (byte)."""
    losses = {(item["contender"], item["seed"]): item["loss"] for item in runs}
    rows = [
        "| contender | parameters | seeds | loss | difference to plain | 95 % interval | each |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CONTENDERS:
        mine = [item for item in runs if item["contender"] == name]
        seeds = [item["seed"] for item in mine if ("none", item["seed"]) in losses]
        if not seeds:
            continue
        pairs = [losses[name, seed] - losses["none", seed] for seed in seeds]
        found = mean_interval(pairs)
        low_high = "too few seeds"
        if found.half_width is not None:
            low_high = f"[{found.mean - found.half_width:+.4f}, {found.mean + found.half_width:+.4f}]"
        text = f"{found.mean:+.4f} | {low_high} | {' '.join(f'{pair:+.4f}' for pair in pairs)}"
        loss = statistics.fmean(losses[name, seed] for seed in seeds)
        parameters = mine[0]["parameters"]
        rows.append(
            f"| {name} | {parameters:,} | {len(seeds)} | {loss:.4f} | {'| | ' if name == 'none' else text + ' '}|"
        )
    return "\n".join(rows)


def _run(name: str, *, seed: int, tokens: TokenSet) -> dict[str, Any]:
    fusion, wiring = CONTENDERS[name]
    architecture = _architecture(fusion, wiring, tokens.vocabulary)
    state = TrainingState.start(architecture, recipe=dataclasses.replace(RECIPE, seed=seed), device="cpu")
    evaluations = list(train(state, tokens))
    last = evaluations[-1]
    print(f"{name} seed {seed}: {last.loss:.4f} ({last.train_s:.0f} s)", flush=True)
    return {
        "contender": name,
        "seed": seed,
        "loss": last.loss,
        "curve": [[item.tokens, item.loss] for item in evaluations],
        "parameters": costs_of(architecture).parameters,
        "architecture_id": architecture.id,
        "train_s": round(last.train_s, 1),
        "corpus": tokens.corpus,
        "corpus_sha256": tokens.corpus_sha256,
        "torch": version("torch"),
        "setting": _setting(),
    }


def _architecture(fusion: str, wiring: Wiring, vocabulary: int) -> Architecture:
    return resolve(
        fusion=fusion,
        wiring=wiring,
        budget=BUDGET,
        vocabulary=vocabulary,
        context=RECIPE.context,
        head_width=HEAD_WIDTH,
    )


def _setting() -> dict[str, Any]:
    """What makes runs comparable; a line with another setting is not today's."""
    recipe = {name: value for name, value in dataclasses.asdict(RECIPE).items() if name != "seed"}
    prepared: dict[str, Any] = json.loads(json.dumps(recipe))
    return {**prepared, "depth": DEPTH, "budget": BUDGET, "head_width": HEAD_WIDTH}


def _keep(run: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")


if __name__ == "__main__":
    main()
