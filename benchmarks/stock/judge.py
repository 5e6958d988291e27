"""The figures of a method's run, judged by the truth, and the table of all methods.

A member of a reported front counts with its true perplexity, latency and memory, whatever the method reported: a
half-trained member is judged as if it were trained, in the method's favour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.cache import Run
from benchmarks.stock.problem import Finished
from benchmarks.stock.truth import Truth
from benchmarks.yardstick import Yardstick
from depthweave.reports.analysis.intervals import mean_interval

_COLUMNS = (
    "method",
    "seeds",
    "wall seconds",
    "ratio",
    "tokens, M",
    "hypervolume",
    "lowest",
    "best found",
    "regret, perplexity",
    "half-trained on the front",
    "stopped, reported complete",
    "not buildable",
    "repeats",
)

_MAX_DEVIATION = 0.004
"""Largest difference of two trainings of one architecture and seed in nat/token; they are equal on one processor."""


class Figures(NamedTuple):
    """The figures of one run of a method."""

    trials: int
    unbuildable: int
    """Trials of combinations that no architecture meets."""
    repeats: int
    """Trials of an architecture that was tried before."""
    tokens: int
    front: int
    """Architectures on the reported front."""
    half_trained: int
    """Architectures on it that were stopped."""
    reported_wrongly: int
    """Stopped trials that the sampler got as complete."""
    hypervolume: float
    """Hypervolume of the reported front's architectures, as a share of that of the whole space."""
    is_best_found: bool
    """Whether the reported front holds the architecture of the lowest true perplexity."""
    regret: float
    """True perplexity of the architecture that is reported as the best, less the lowest true one; infinite for none."""


def judge(finished: Sequence[Finished], *, truth: Truth) -> Figures:
    """Returns the figures, by the truth of the same seed.

    Raises `ValueError` where a whole training ends elsewhere than the truth's: it had another text or recipe.
    """
    _check_same_trainings(finished, truth=truth)
    tried = [item.architecture_id for item in finished if item.architecture_id is not None]
    members: dict[str, bool] = {}
    for item in finished:
        if item.is_on_front and item.architecture_id is not None:
            members[item.architecture_id] = members.get(item.architecture_id, False) or item.is_whole
    rows = [truth.rows[name] for name in members]
    perplexities_N = truth.points_NO[:, 0]
    return Figures(
        trials=len(finished),
        unbuildable=len(finished) - len(tried),
        repeats=len(tried) - len(set(tried)),
        tokens=sum(item.tokens for item in finished),
        front=len(members),
        half_trained=sum(not is_whole for is_whole in members.values()),
        reported_wrongly=sum(item.is_reported_complete and not item.is_whole for item in finished),
        hypervolume=Yardstick(truth.points_NO).ratio(rows) if rows else 0.0,
        is_best_found=int(perplexities_N.argmin()) in rows,
        regret=_regret(finished, truth=truth),
    )


def table(runs: Sequence[Run], *, methods: Sequence[str]) -> str:
    """One row a method, over its seeds; times also relative to the first method's on the same seeds."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    base = {run["seed"]: run["wall_s"] for run in runs if run["method"] == methods[0]}
    for method in methods:
        mine = [run for run in runs if run["method"] == method]
        if mine:
            lines.append(_row(method, mine, base_s=base))
    return "\n".join(lines)


def _row(method: str, mine: Sequence[Run], *, base_s: dict[int, float]) -> str:
    ratios = [run["wall_s"] / base_s[run["seed"]] for run in mine if run["seed"] in base_s]
    regrets = [math.inf if run["regret"] is None else run["regret"] for run in mine]
    cells = [
        method,
        str(len(mine)),
        f"{_mean([run['wall_s'] for run in mine]):.0f}",
        f"{_mean(ratios):.2f}" if ratios else "",
        f"{_mean([run['tokens'] for run in mine]) / 1e6:.2f}",
        f"{_mean([run['hypervolume'] for run in mine]):.3f}",
        f"{min(run['hypervolume'] for run in mine):.3f}",
        f"{sum(run['is_best_found'] for run in mine)} of {len(mine)}",
        f"{_mean(regrets):.3f}",
        f"{sum(run['half_trained'] for run in mine)} of {sum(run['front'] for run in mine)}",
        f"{sum(run['reported_wrongly'] for run in mine)} of {sum(run['trials'] for run in mine)}",
        f"{sum(run['unbuildable'] for run in mine)} of {sum(run['trials'] for run in mine)}",
        str(sum(run["repeats"] for run in mine)),
    ]
    return f"| {' | '.join(cells)} |"


def _mean(values: Sequence[float]) -> float:
    return mean_interval(values).mean


def _check_same_trainings(finished: Sequence[Finished], *, truth: Truth) -> None:
    for item in finished:
        if not item.is_whole or item.perplexity is None or item.architecture_id is None:
            continue
        known = float(truth.points_NO[truth.rows[item.architecture_id], 0])
        if abs(math.log(item.perplexity / known)) > _MAX_DEVIATION:
            raise ValueError(
                f"architecture {item.architecture_id} was trained to a perplexity of {item.perplexity:.4f}, and to "
                f"{known:.4f} in the truth: text, recipe and seed must be the same"
            )


def _regret(finished: Sequence[Finished], *, truth: Truth) -> float:
    reported = [
        (item.perplexity, item.architecture_id)
        for item in finished
        if item.is_on_front and item.perplexity is not None and item.architecture_id is not None
    ]
    if not reported:
        return math.inf
    _, best = min(reported)
    perplexities_N = truth.points_NO[:, 0]
    return float(perplexities_N[truth.rows[best]] - perplexities_N.min())
