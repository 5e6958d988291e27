"""Depthweave beside stock Ray Tune and Optuna on the quick search's space: time, tokens, front, and what was lost.

    python -m benchmarks.stock                 # runs what is missing, then prints the table; on a quiet machine
    python -m benchmarks.stock --table         # prints the table of what is there
    python -m benchmarks.stock --truth         # only the exhaustive trainings
    python -m benchmarks.stock --results /tmp/stock --seeds 0 --set recipe.steps=12 --set search.trials=4  # a rehearsal

Two workers of one thread each. Every run of a method is one line in `results/stock.jsonl`, every exhaustive training
one in `results/stock_truth.jsonl`; existing ones are not repeated, so a killed command continues. Lines of
another space, text, recipe, start of the weights or number of trials are ignored.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cache import FOLDER, Cache, Run, seed_range
from benchmarks.stock.judge import judge, table
from benchmarks.stock.methods import METHODS, run
from benchmarks.stock.problem import prepared_of, search_key
from benchmarks.stock.truth import complete, truth_of
from depthweave.search.preparation import PreparedSearch, software
from depthweave.trainers import hardware, pick_device


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and prints the table."""
    wanted = _parser().parse_args(arguments)
    cache, truths = Cache("stock", folder=wanted.results), Cache("stock_truth", folder=wanted.results)
    if not wanted.table:
        complete(truths, overrides=wanted.set, seeds=wanted.seeds)
    if not wanted.table and not wanted.truth:
        # Seed by seed, the methods in turn: a disturbance of an hour affects all.
        for seed in wanted.seeds:
            for name in wanted.method or METHODS:
                _complete_run(name, seed=seed, overrides=wanted.set, cache=cache, truths=truths)
    key = search_key(prepared_of(wanted.set, seed=wanted.seeds[0]))
    print(table([item for item in cache.runs() if item["key"] == key], methods=list(METHODS)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stock", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    parser.add_argument("--truth", action="store_true", help="train and measure the whole space, and no method")
    parser.add_argument("--method", action="append", choices=METHODS, help="this one alone; may be repeated")
    parser.add_argument("--seeds", type=seed_range, default=[0, 1, 2], help="for example 0-2")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder of the lines")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the spec")
    return parser


def _complete_run(name: str, *, seed: int, overrides: Sequence[str], cache: Cache, truths: Cache) -> None:
    prepared = prepared_of(overrides, seed=seed)
    if _is_there(cache.runs(), name=name, prepared=prepared):
        return
    truth = truth_of(truths.runs(), prepared=prepared)
    if truth is None:
        raise ValueError(f"the truth of seed {seed} is not whole: run with --truth")
    with tempfile.TemporaryDirectory(prefix="stock-") as folder:
        outcome = run(name, folder=Path(folder), seed=seed, overrides=overrides)
    figures = judge(outcome.finished, truth=truth)
    regret = None if figures.regret == float("inf") else figures.regret
    cache.keep(
        {
            "method": name,
            "seed": seed,
            "key": search_key(prepared),
            "wall_s": round(outcome.wall_s, 1),
            **figures._asdict(),
            "regret": regret,
            "software": software(),
            "hardware": hardware(pick_device("cpu")),
        }
    )
    print(f"{name}, seed {seed}: {outcome.wall_s:.0f} s, {figures}", flush=True)


def _is_there(runs: Sequence[Run], *, name: str, prepared: PreparedSearch) -> bool:
    wanted = name, prepared.spec.seed, search_key(prepared)
    return any((item["method"], item["seed"], item["key"]) == wanted for item in runs)


if __name__ == "__main__":
    main()
