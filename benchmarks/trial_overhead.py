"""What a trial costs beyond its own work: seconds of a worker that go neither into measuring, training nor evaluating.

    python -m benchmarks.trial_overhead              # 24 trials with the models of examples/quick.yaml, one worker
    python -m benchmarks.trial_overhead --trials 48

The trials take six steps with an evaluation and a checkpoint after each, so that the overhead is a large share.
One worker runs them one after another: the time from the end of one trial to the end of the next is a trial's whole
cost. The part of its worker (model, checkpoints, weights) and that of the driver (Ray, Optuna, Parquet) are separate
figures. The first trial, which waits for its worker's process to start, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rich.console import Console

from depthweave.reports.store.records import Record
from depthweave.search.driver import run_search
from depthweave.search.preparation import PreparedSearch, create_run, prepare
from depthweave.search.progress import PlainProgress
from depthweave.search.spec.loading import make_spec

TARGET_S = 0.3
"""A trial adds at most this beyond its own work."""
_WORDS = ("the", "weave", "of", "depth", "blocks", "reads", "every", "state", "again", "and", "never", "forgets")


def main() -> None:
    """Search, then print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=24, help="trials of the search")
    trials = parser.parse_args().trials
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="depthweave-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        records = _search(Path(folder), trials=trials)
    costs = costs_of_trials(records)
    print(table(costs))
    last = records[-1]
    facts = {"trials": len(records), "hardware": last.hardware, "threads": last.threads, "software": last.software}
    medians = {name: round(float(np.median(values)), 4) for name, values in costs.items()}
    print(json.dumps({"benchmark": "trial_overhead", **facts, "target_s": TARGET_S, "median_s": medians}))


def costs_of_trials(records: list[Record]) -> dict[str, list[float]]:
    """Seconds of every trial but the first, in the order of a single worker."""
    costs: dict[str, list[float]] = {name: [] for name in ("whole", "work", "worker adds", "driver adds", "overhead")}
    for before, record in pairwise(records):
        whole_s = (record.finished_at - before.finished_at).total_seconds()
        work_s = record.measure_s + record.train_s + record.evaluation_s
        costs["whole"].append(whole_s)
        costs["work"].append(work_s)
        costs["worker adds"].append(record.wall_s - work_s)
        costs["driver adds"].append(whole_s - record.wall_s)
        costs["overhead"].append(whole_s - work_s)
    return costs


def table(costs: dict[str, list[float]]) -> str:
    """Median and quartiles of each part, seconds a trial."""
    rows = ["| seconds a trial | median | quartiles |", "|---|---|---|"]
    for name, values in costs.items():
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        rows.append(f"| {name} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(rows)


def small_search(folder: Path, *, trials: int) -> PreparedSearch:
    """A search for one worker with a text in the folder."""
    text = folder / "text"
    text.mkdir()
    generator = random.Random(0)
    for number in range(8):
        (text / f"{number}.txt").write_text(" ".join(generator.choices(_WORDS, k=4000)), encoding="utf-8")
    return prepare(make_spec(_spec(text, trials=trials)))


def _search(folder: Path, *, trials: int) -> list[Record]:
    prepared = small_search(folder, trials=trials)
    store = create_run(prepared, out=folder / "run")
    progress = PlainProgress(Console(stderr=True), objectives=prepared.spec.objectives)
    return run_search(prepared, store, address=None, progress=progress).records


def _spec(text: Path, *, trials: int) -> dict[str, Any]:
    """The models, objectives and sampler of examples/quick.yaml; all trials run to their end."""
    return {
        "name": "trial-overhead",
        "corpus": {"kind": "files", "paths": [str(text)], "validation_frac": 0.3},
        "space": {"depths": [6, 12], "budgets": [300_000], "head_width": 16},
        "recipe": {"steps": 6, "batch": 16, "context": 64, "num_evaluations": 6, "evaluation_tokens": 1024},
        "objectives": ["perplexity", "latency", "memory_bytes"],
        "search": {"trials": trials, "pruner": "none"},
        "resources": {"device": "cpu", "max_concurrent": 1, "measure_limit_s": 0.1},
    }


if __name__ == "__main__":
    main()
