"""What a pause costs: seconds from one evaluation to the next that go neither into training nor into evaluating.

    python -m benchmarks.pause_overhead              # 8 trials with the models of examples/quick.yaml, one worker
    python -m benchmarks.pause_overhead --trials 24

One worker. Every second evaluation of a trial is a rung, at which the worker changes to another trial and returns
later. The time between two evaluations without a change is the report, Ray's turn and the checkpoint. A change adds
the end of one Ray trial, the start of another, and a model that is built and loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from rich.console import Console

from benchmarks.trial_overhead import small_search
from depthweave.search.driver import run_search
from depthweave.search.preparation import create_run
from depthweave.search.progress import PlainProgress
from depthweave.search.pruners.chooser import NEW, TrialSnapshot
from depthweave.search.trials.live_trial import LiveTrial

TARGET_S = 0.2
"""A pause and its continuation add at most this."""


class EverySecond:
    """Starts all trials; after every second evaluation the one with the fewest evaluations continues."""

    def is_rung(self, evaluation: int) -> bool:
        return evaluation % 2 == 0

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        if may_start:
            return NEW
        paused = [item for item in snapshots if item.state == "paused"]
        return min(paused, key=lambda item: (len(item.losses), item.number)).number if paused else None

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        return ()


class Clock(PlainProgress):
    """Also notes what lies between two evaluations, less the training and evaluating of the later one."""

    def __init__(self, console: Console, *, objectives: tuple[str, ...]) -> None:
        super().__init__(console, objectives=objectives)
        self.between_s: dict[str, list[float]] = {"trains on": [], "changes": []}
        self._heard: tuple[int, float] | None = None

    def on_evaluation(self, live: LiveTrial) -> None:
        now = time.perf_counter()
        # Measuring comes before a trial's first evaluation, and is no part of a change.
        if self._heard is not None and len(live.evaluations) > 1:
            before, last = live.evaluations[-2:]
            work_s = last.train_s + last.evaluation_s - before.train_s - before.evaluation_s
            how = "trains on" if self._heard[0] == live.number else "changes"
            self.between_s[how].append(now - self._heard[1] - work_s)
        self._heard = live.number, now


def main() -> None:
    """Search, then print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=8, help="trials of the search")
    trials = parser.parse_args().trials
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="depthweave-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        prepared = small_search(Path(folder), trials=trials)
        clock = Clock(Console(stderr=True), objectives=prepared.spec.objectives)
        store = create_run(prepared, out=Path(folder) / "run")
        records = run_search(prepared, store, address=None, progress=clock, chooser=EverySecond()).records
    print(table(clock.between_s))
    medians = {how: round(float(np.median(values)), 4) for how, values in clock.between_s.items()}
    pause_s = round(medians["changes"] - medians["trains on"], 4)
    facts = {"trials": len(records), "changes": len(clock.between_s["changes"]), "hardware": records[0].hardware}
    print(f"a pause and its continuation: {pause_s:.3f} s (target {TARGET_S} s)")
    print(
        json.dumps(
            {"benchmark": "pause_overhead", **facts, "target_s": TARGET_S, "median_s": medians, "pause_s": pause_s}
        )
    )


def table(between_s: dict[str, list[float]]) -> str:
    """Median and quartiles, seconds from one evaluation to the next beyond the work."""
    rows = ["| the worker | times | median | quartiles |", "|---|---|---|---|"]
    for how, values in between_s.items():
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        rows.append(f"| {how} | {len(values)} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
