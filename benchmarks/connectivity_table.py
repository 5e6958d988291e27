"""Sampler and pruner together on the connectivity table: training tokens until nearly all of the front is found.

    python -m benchmarks.connectivity_table                  # runs what is missing, then prints the tables
    python -m benchmarks.connectivity_table --table          # prints the tables of what is there
    python -m benchmarks.connectivity_table --seeds 100-104  # choose settings on these, report 0-19
    python -m benchmarks.connectivity_table --edition small  # a part of the second edition, once it is there

Each seed of an edition of the table (connectivity_problems.py) is a problem, with two sets of objectives: loss, latency
and memory; loss and latency.

A search is replayed (replay.py) with 1 and with 4 workers until the space is exhausted. Only complete trainings count
for the front. The table shows the tokens spent until the front has 95 % and 99 % of the hypervolume of the whole
table's front, as shares of training everything: the median over the search's seeds and its 95 % interval. A median
hides failures, so the table also shows how many searches never arrive, and the lowest final hypervolume.

Arms of other projects (arms.py) are skipped and named where these are not installed. BoTorch's ends after 60 trainings.

Measurements, and waits for another's measurement, are charged to all arms by one rule: in tokens that the worker could
have trained on meanwhile (replay.py). `known in hindsight` trains only what the front needs: no search can spend much
less. Searches are kept one a line in `benchmarks/results/connectivity_table.jsonl`. They hold for the table that they
ran on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import optuna

from benchmarks.arms import ARMS, Arm
from benchmarks.cache import Cache, Run, rounded, seed_range
from benchmarks.connectivity_problems import EDITIONS, CurveProblem, Edition, connectivity
from benchmarks.forecast_scores import watch
from benchmarks.replay import replay
from benchmarks.yardstick import MedianInterval, Yardstick, median_interval

CACHE = Cache("connectivity_table")
WORKERS = (1, 4)
SHARES = (0.95, 0.99)
SEEDS = (0, 1)
"""Of the table's trainings."""
COSTS = (("latency", "memory_bytes"), ("latency",))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What one arm spent on one problem."""

    searches: int
    spent: tuple[MedianInterval, ...]
    """Share of the whole table's tokens until each of `SHARES`; infinite if more than half never arrived."""
    spent_in_all: float
    """Mean share when the search ended, audit included."""
    audit: float
    """Mean share that the audit took."""
    never: tuple[int, ...]
    """Searches that never reached each of `SHARES`."""
    ratio: float
    """Mean hypervolume ratio at the end."""
    lowest: float
    """Lowest of the ratios."""
    kept: float
    """Mean share of the true front that was trained to its end."""


def main() -> None:
    """Runs what is missing and prints the tables."""
    wanted = _arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problems = list(load(EDITIONS[wanted.edition]))
    chosen = [ARMS[name] for name in wanted.arm or ARMS]
    if wanted.again:
        CACHE.forget(lambda kept: kept["arm"] in {item.name for item in chosen})
    if not wanted.table:
        for arm in chosen:
            if arm.missing:
                print(f"skipped: {arm.name} needs {arm.missing}")
                continue
            known = {_key(kept) for kept in CACHE.runs()}
            for seed, item, workers in product(wanted.seeds, problems, WORKERS):
                if (identity(item), arm.name, workers, seed) not in known:
                    CACHE.keep(run(arm, problem=item, workers=workers, seed=seed))
    found = {}
    for item in problems:
        for workers in WORKERS:
            cells = dict(_cells(CACHE.runs(), problem=item, workers=workers, seeds=wanted.seeds))
            print(table(cells, problem=item, workers=workers))
            found[f"{item.problem.name}, {workers} workers"] = {
                name: {str(share): rounded(*spent) for share, spent in zip(SHARES, cell.spent, strict=True)}
                for name, cell in cells.items()
            }
    print(json.dumps({"benchmark": "connectivity_table", "seeds": wanted.seeds, "spent_frac": found}))


def load(edition: Edition) -> Iterator[CurveProblem]:
    """Yields the problems of an edition; `SystemExit` where it is not there."""
    try:
        for seed, costs in product(SEEDS, COSTS):
            yield connectivity(edition, seed=seed, costs=costs)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def run(arm: Arm, *, problem: CurveProblem, workers: int, seed: int) -> Run:
    """Runs one search. `growth` holds the evaluations charged when the front grew, and the row that ended there.

    `growth_s` is the clock of the replay at these times.
    """
    yardstick = Yardstick(problem.problem.points_NO)
    guide, scores = watch(None if arm.guide is None else arm.guide(problem), curves=problem.curves)
    growth: list[tuple[float, int]] = []
    growth_s: list[float] = []
    complete: list[int] = []
    evaluations, audit = 0.0, 0
    for ended in replay(
        problem.curves,
        proposer=arm.proposer(problem, seed),
        num_workers=workers,
        stopper=None if arm.stopper is None else arm.stopper(problem, seed),
        chooser=None if arm.chooser is None else arm.chooser(problem, seed, guide),
        surveyed=() if arm.survey is None else arm.survey(problem),
    ):
        evaluations, audit = ended.evaluations, ended.audit_evaluations
        if ended.state != "stopped":
            if yardstick.improves(ended.row, on=complete):
                growth.append((ended.evaluations, ended.row))
                growth_s.append(round(ended.time_s, 2))
            complete.append(ended.row)
        if arm.most is not None and len(complete) >= arm.most:
            break
    return {
        "table": identity(problem),
        "problem": problem.problem.name,
        "arm": arm.name,
        "workers": workers,
        "seed": seed,
        "evaluations": evaluations,
        "audit": audit,
        "complete": len(complete),
        "growth": growth,
        "growth_s": growth_s,
        "scores": None if scores is None else asdict(scores),
    }


def spent_until(share: float, *, search: Run, yardstick: Yardstick) -> float:
    """Returns the evaluations charged until the front had that share of the hypervolume, or infinity."""
    rows: list[int] = []
    for evaluations, row in search["growth"]:
        rows.append(row)
        if yardstick.ratio(rows) >= share:
            return float(evaluations)
    return math.inf


def hindsight(share: float, *, problem: CurveProblem) -> int:
    """Returns the evaluations until that share if all curves are known: front members by their gain, greedily."""
    yardstick = Yardstick(problem.problem.points_NO)
    rows: list[int] = []
    while yardstick.ratio(rows) < share:
        rows.append(max(sorted(yardstick.front.difference(rows)), key=lambda row: yardstick.ratio([*rows, row])))
    return len(rows) * problem.curves.num_evaluations


def table(cells: dict[str, Cell], *, problem: CurveProblem, workers: int) -> str:
    """Returns the table, one row an arm."""
    size = problem.curves.losses_NE.size
    rows = [
        f"\n{problem.problem.name}; {workers} worker{'s' if workers > 1 else ''}; {len(problem.curves.ids)} "
        f"architectures, all of them {size * problem.tokens:,} tokens, "
        f"{len(Yardstick(problem.problem.points_NO).front)} on the front\n",
        "| tokens spent until | searches | "
        + " | ".join(f"{share:.0%} of the hypervolume" for share in SHARES)
        + " | in all (audit) | hypervolume then (lowest) | front kept |",
        "|---" * (5 + len(SHARES)) + "|",
    ]
    least = [f"{hindsight(share, problem=problem) / size:.1%}" for share in SHARES]
    rows.append(f"| known in hindsight | | {' | '.join(least)} | | | |")
    for name, cell in cells.items():
        columns = " | ".join(_cell_text(*item) for item in zip(cell.spent, cell.never, strict=True))
        rows.append(
            f"| {name} | {cell.searches} | {columns} | {cell.spent_in_all:.1%} ({cell.audit:.1%}) | {cell.ratio:.4f} "
            f"({cell.lowest:.4f}) | {cell.kept:.0%} |"
        )
    return "\n".join(rows)


def identity(problem: CurveProblem) -> str:
    """Returns a short hash of everything that a search on the problem can see."""
    curves = problem.curves
    digest = hashlib.sha256(json.dumps([curves.ids, curves.cost_names, curves.measuring]).encode())
    for values in (curves.losses_NE, curves.costs_NC, curves.evaluation_s_N):
        digest.update(values.tobytes())
    return digest.hexdigest()[:12]


def _cells(
    runs: Sequence[Run], *, problem: CurveProblem, workers: int, seeds: Sequence[int]
) -> Iterator[tuple[str, Cell]]:
    yardstick = Yardstick(problem.problem.points_NO)
    size = problem.curves.losses_NE.size
    wanted = {(identity(problem), name, workers, seed) for name in ARMS for seed in seeds}
    for name in ARMS:
        mine = [item for item in runs if item["arm"] == name and _key(item) in wanted]
        if not mine:
            continue
        spent = [[spent_until(share, search=item, yardstick=yardstick) / size for item in mine] for share in SHARES]
        ratios = [yardstick.ratio([row for _, row in item["growth"]]) for item in mine]
        yield (
            name,
            Cell(
                searches=len(mine),
                spent=tuple(median_interval(item) for item in spent),
                spent_in_all=statistics.fmean(item["evaluations"] for item in mine) / size,
                audit=statistics.fmean(item["audit"] for item in mine) / size,
                never=tuple(sum(map(math.isinf, item)) for item in spent),
                ratio=statistics.fmean(ratios),
                lowest=min(ratios),
                kept=statistics.fmean(yardstick.kept_frac([row for _, row in item["growth"]]) for item in mine),
            ),
        )


def _key(run: Run) -> tuple[str, str, int, int]:
    return run["table"], run["arm"], run["workers"], run["seed"]


def _cell_text(found: MedianInterval, never: int) -> str:
    """Returns the median, its interval, and how many searches never arrive."""
    lost = f", {never} never" if never else ""
    if math.isinf(found.median):
        return f"never ({never})"
    if found.low is None or found.high is None:
        return f"{found.median:.1%}{lost}"
    return f"{found.median:.1%} [{found.low:.1%}, {'never' if math.isinf(found.high) else f'{found.high:.1%}'}]{lost}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the tables of what is there, run nothing")
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="only this one; repeatable")
    parser.add_argument("--edition", choices=EDITIONS, default="first")
    parser.add_argument("--seeds", type=seed_range, default=list(range(20)), help="first-last, both included")
    parser.add_argument("--again", action="store_true", help="repeat all searches of the chosen arms")
    return parser.parse_args()


if __name__ == "__main__":
    main()
