"""Checks the calibration of forecasts: standard scores at every decision, on the connectivity table.

    python -m benchmarks.calibration                  # of the searches that connectivity_table has kept
    python -m benchmarks.calibration --seeds 100-104

A search's forecasts of its paused trials are scored against their outcomes (forecast_scores.py). Targets: a standard
deviation of 0.8 to 1.25, at most 7 % beyond 2 and 1 % beyond 3. `worst` is the largest of a single search.
`python -m benchmarks.connectivity_table --arm "known-cost + pareto"` runs what is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from benchmarks.cache import Run, seed_range
from benchmarks.connectivity_problems import EDITIONS
from benchmarks.connectivity_table import CACHE, WORKERS, identity, load
from benchmarks.forecast_scores import Scores

ARM = "known-cost + pareto"


def main() -> None:
    """Prints the table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arm", default=ARM, help="one whose pruner has a surrogate")
    parser.add_argument("--edition", choices=EDITIONS, default="first")
    parser.add_argument("--seeds", type=seed_range, default=list(range(20)), help="first-last, both included")
    wanted = parser.parse_args()
    runs = [item for item in CACHE.runs() if item["arm"] == wanted.arm and item["seed"] in wanted.seeds]
    print("| forecasts of paused trials | searches | mean | sd (worst) | beyond 2 (worst) | beyond 3 (worst) |")
    print("|---" * 6 + "|")
    found: list[Scores] = []
    for problem in load(EDITIONS[wanted.edition]):
        for workers in WORKERS:
            mine = [item for item in runs if (item["table"], item["workers"]) == (identity(problem), workers)]
            scores = scores_of(mine)
            found += scores
            if scores:
                print(row(f"{problem.problem.name}; {workers}", scores))
    if not found:
        raise SystemExit(f"no search of '{wanted.arm}' is kept with forecasts: run connectivity_table first")
    print(row("all", found))
    whole = sum(found, start=Scores())
    shares = {"beyond_2": whole.beyond_2 / whole.count, "beyond_3": whole.beyond_3 / whole.count}
    print(json.dumps({"benchmark": "calibration", "searches": len(found), "sd": whole.sd, **shares}))


def scores_of(runs: Sequence[Run]) -> list[Scores]:
    """Returns the scores of each search; searches kept before forecasts were scored have none."""
    return [Scores(**item["scores"]) for item in runs if item.get("scores")]


def row(name: str, scores: Sequence[Scores]) -> str:
    """Returns a row of all searches together, and of the worst of them."""
    whole = sum(scores, start=Scores())
    texts = [f"{whole.sd:.2f} ({max(item.sd for item in scores):.2f})"]
    for part in ("beyond_2", "beyond_3"):
        worst = max(getattr(item, part) / max(item.count, 1) for item in scores)
        texts.append(f"{getattr(whole, part) / whole.count:.1%} ({worst:.1%})")
    return f"| {name} | {len(scores)} | {whole.mean:+.2f} | {' | '.join(texts)} |"


if __name__ == "__main__":
    main()
