"""Pruners replayed on the 50 epochs of 341 recurrent-cell graphs: what each spends, and how much of the front it keeps.

    python -m benchmarks.pruning_replay --table nasbench_nlp_wikitext2_345.parquet
    DEPTHWEAVE_CURVES=nasbench_nlp_wikitext2_345.parquet python -m benchmarks.pruning_replay --orders 20

The file holds the learning curves of NAS-Bench-NLP on WikiText-2 (Klyuchnikov et al. 2020, arXiv 2006.07116; its
repository fmsnew/nas-bench-nlp-release): columns `recipe_id`, `status`, `val_loss`, `wall_time_s`. The
graphs with status OK and 50 finite values are used. Objectives: the validation loss after the last epoch, and the
median seconds of an epoch, which a search knows before it trains. Graphs arrive in a random order, one seed an order; a
worker is busy for a graph's seconds an epoch. Columns: share of all epochs that were trained (without those of
the audit, which count towards neither front nor hypervolume), hypervolume ratio of yardstick.py (up to the table's
worst values and a tenth), the same up to the nadir of the table's front and a tenth, where poor graphs count for
nothing, and the share of the table's front that was trained to its end. Mean over orders with its 95 % interval.

Settings of `pareto` were chosen on halves of the table and on orders with seeds 100 to 119; orders 0 to 19 are
reported. The graphs are the same, so another table is needed to judge it elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pyarrow.parquet as pq

from benchmarks.replay import Curves, Ended, OptunaStopper, replay
from benchmarks.yardstick import Yardstick
from depthweave.reports.analysis.front import hypervolume_frac, reference_point
from depthweave.reports.analysis.intervals import mean_interval
from depthweave.search.pruners import make_pruner
from depthweave.search.pruners.pareto import ParetoChooser

PLACE = "DEPTHWEAVE_CURVES"
"""Environment variable: the file, where `--table` is not given."""
NUM_EPOCHS = 50


class Outcome(NamedTuple):
    """One order's, as shares."""

    compute: float
    audit: float
    hypervolume: float
    near_front: float
    """Hypervolume up to the nadir of the front."""
    kept: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A pruner by name, or the chooser."""

    pruner: str | None = None
    """`None`: the chooser."""
    options: dict[str, Any] = field(default_factory=dict)
    fair: bool = False
    """Whether it sees only the peers that cost no more."""


CONTENDERS: dict[str, Contender] = {
    "none": Contender(pruner="none"),
    "asha, eta 3": Contender(pruner="asha"),
    "median": Contender(pruner="median"),
    "median, fair peers": Contender(pruner="median", fair=True),
    "mo-asha, eta 3": Contender(pruner="mo-asha"),
    "mo-asha, eta 2": Contender(pruner="mo-asha", options={"eta": 2}),
    "pareto, stops for ever": Contender(pruner="pareto", options={"audit_frac": 0.0}),
    "pareto": Contender(),
}


def main() -> None:
    """Replay, then print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", type=Path, default=os.environ.get(PLACE), help=f"the Parquet file (or {PLACE})")
    parser.add_argument("--orders", type=int, default=20, help="orders of arrival, by seed from 0")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4], help="simulated workers")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS), help="contenders")
    wanted = parser.parse_args()
    if wanted.table is None or not Path(wanted.table).exists():
        parser.error(f"the curves are not there ({wanted.table}): give the Parquet file by --table or {PLACE}")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves = read_curves(Path(wanted.table))
    print("| pruner | workers | compute | audit | hypervolume | near the front | front kept |")
    print("|---" * 7 + "|")
    found: dict[str, dict[str, list[float]]] = {}
    began_s = time.perf_counter()
    for name in wanted.only:
        for workers in wanted.workers:
            outcomes = [run(curves, CONTENDERS[name], seed=seed, workers=workers) for seed in range(wanted.orders)]
            print(row(name, outcomes, workers=workers), flush=True)
            means = np.mean(outcomes, axis=0).round(6).tolist()
            found[f"{name}, {workers} workers"] = dict(zip(Outcome._fields, means, strict=True))
    facts = {"graphs": len(curves.ids), "orders": wanted.orders, "wall_s": round(time.perf_counter() - began_s, 1)}
    print(json.dumps({"benchmark": "pruning_replay", **facts, "mean": found}))


def read_curves(path: Path) -> Curves:
    """The usable graphs of the file, in its order."""
    rows = [
        item
        for item in pq.read_table(path, columns=["recipe_id", "status", "val_loss", "wall_time_s"]).to_pylist()
        if item["status"] == "OK" and len(item["val_loss"]) == NUM_EPOCHS and np.isfinite(item["val_loss"]).all()
    ]
    epoch_s_N = np.array([float(np.median(item["wall_time_s"])) for item in rows])
    return Curves(
        ids=tuple(str(item["recipe_id"]) for item in rows),
        losses_NE=np.array([item["val_loss"] for item in rows]),
        cost_names=("epoch_s",),
        costs_NC=epoch_s_N[:, None],
        evaluation_s_N=epoch_s_N,
    )


def run(curves: Curves, contender: Contender, *, seed: int, workers: int) -> Outcome:
    """One order of arrival, from the first graph until nothing is left to do."""
    order = _Order(np.random.default_rng(seed).permutation(len(curves.ids)).tolist())
    if contender.pruner is None:
        chooser = ParetoChooser(num_evaluations=curves.num_evaluations, seed=seed)
        ends = list(replay(curves, proposer=order, num_workers=workers, chooser=chooser))
    else:
        pruner = make_pruner(contender.pruner, options=contender.options)
        stopper = OptunaStopper(pruner, fair=contender.fair)
        ends = list(replay(curves, proposer=order, num_workers=workers, stopper=stopper))
    return _outcome(curves, ends)


def row(name: str, outcomes: Sequence[Outcome], *, workers: int) -> str:
    """Means with their intervals, as a row of the table."""
    cells = [_cell([getattr(item, part) for item in outcomes], part=part) for part in Outcome._fields]
    return f"| {name} | {workers} | {' | '.join(cells)} |"


class _Order:
    """A sampler that proposes in a given order."""

    def __init__(self, order: list[int]) -> None:
        self._left = order[::-1]

    def ask(self) -> int | None:
        return self._left.pop() if self._left else None

    def hear(self, index: int, losses: Sequence[float]) -> None: ...

    def tell(self, index: int, values: Sequence[float] | None) -> None: ...


def _outcome(curves: Curves, ends: list[Ended]) -> Outcome:
    audit, every = ends[-1].audit_evaluations, curves.losses_NE.size
    complete = [item.row for item in ends if item.state == "complete"]
    points_NO, yardstick = curves.points_NO, Yardstick(curves.points_NO)
    front_FO = points_NO[sorted(yardstick.front)]
    box = {"ideal": front_FO.min(axis=0), "reference": reference_point(front_FO)}
    return Outcome(
        compute=(ends[-1].evaluations - audit) / every,
        audit=audit / every,
        hypervolume=yardstick.ratio(complete),
        near_front=hypervolume_frac(points_NO[complete], **box) / hypervolume_frac(front_FO, **box),
        kept=yardstick.kept_frac(complete),
    )


def _cell(values: list[float], *, part: str) -> str:
    found = mean_interval(values)
    digits, factor, unit = (5, 1.0, "") if part in ("hypervolume", "near_front") else (1, 100.0, " %")
    width = "" if found.half_width is None else f" ± {factor * found.half_width:.{digits}f}"
    return f"{factor * found.mean:.{digits}f}{width}{unit}"


if __name__ == "__main__":
    main()
