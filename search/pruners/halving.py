"""Successive halving, asynchronous: by the loss alone (`asha`) and by non-dominated rank of loss and costs (`mo-asha`).

A trial continues if it is among the best 1/eta, and at least one, of the trials that have reached its rung so far,
including itself. A stop is final. Rungs are derived from the reports of the trials; there is no other state.

Source: L. Li et al. (2020), A system for massively parallel hyperparameter tuning, arXiv:1810.05934;
R. Schmucker et al. (2021), Multi-objective asynchronous successive halving, arXiv:2106.12639.
Differs: trials are stopped instead of promoted, as in Ray Tune. All trials of equal rank continue, where Schmucker et
al. choose among them by an epsilon-net. (Choosing by the loss would lose the cheap end of the front.)
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from typing import ClassVar

import moocore
import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from depthweave.search.pruners.peers import COSTS

Array = NDArray[np.float64]


class AshaPruner(BasePruner):
    """Successive halving by the loss alone, among the trials of the study, which minimises."""

    def __init__(self, eta: int = 3, grace: int = 1) -> None:
        _check_options("asha", eta=eta, grace=grace)
        self._eta, self._grace = eta, grace

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether the trial has just reached a rung and is not among the best there."""
        return _is_below_top(study, trial, names=(), eta=self._eta, grace=self._grace)


class MoAshaPruner(BasePruner):
    """Successive halving by non-dominated rank. The study minimises; its trials have the user attribute `costs`.

    A trial without costs is never stopped.
    """

    sees_all_peers: ClassVar[bool] = True
    """It compares costs itself (`peers.should_stop`)."""

    def __init__(self, eta: int = 3, grace: int = 1) -> None:
        _check_options("mo-asha", eta=eta, grace=grace)
        self._eta, self._grace = eta, grace

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether the trial has just reached a rung and is not among the best there."""
        costs = trial.user_attrs.get(COSTS)
        return costs is not None and _is_below_top(study, trial, names=costs, eta=self._eta, grace=self._grace)


def ranks(losses_T: Array, costs_TC: Array) -> NDArray[np.int64]:
    """Returns the non-dominated ranks, `[T]`: 0 on the front, 1 on the front of the rest, and so on."""
    return np.asarray(moocore.pareto_rank(np.column_stack([losses_T, costs_TC])), dtype=np.int64)


def losses_of(trial: FrozenTrial, evaluations: Sequence[int]) -> list[float]:
    """Returns a trial's losses after these evaluations, counted from 1 by step; NaN if not reached."""
    values = trial.intermediate_values
    steps, num = sorted(values), bisect_right(evaluations, len(values))
    return [_finite(values[steps[item - 1]]) for item in evaluations[:num]] + [math.nan] * (len(evaluations) - num)


def cost_row(trial: FrozenTrial, names: Collection[str]) -> list[float] | None:
    """Returns a trial's costs of these names; `None` if one is unknown."""
    costs = trial.user_attrs.get(COSTS, {} if not names else None)
    return (
        [float(costs[name]) for name in names] if costs is not None and all(name in costs for name in names) else None
    )


def _is_below_top(study: Study, trial: FrozenTrial, *, names: Collection[str], eta: int, grace: int) -> bool:
    evaluation = len(trial.intermediate_values)
    if not _is_rung(evaluation, eta=eta, grace=grace):
        return False
    peers = [item for item in study.get_trials(deepcopy=False) if item.number != trial.number]
    rows = [
        (*losses_of(item, [evaluation]), *costs)
        for item in (trial, *peers)
        if len(item.intermediate_values) >= evaluation and (costs := cost_row(item, names)) is not None
    ]
    table = np.array(rows, dtype=np.float64)
    rank = ranks(table[:, 0], table[:, 1:])
    return int((rank < rank[0]).sum()) >= max(1, len(rows) // eta)


def _is_rung(evaluation: int, *, eta: int, grace: int) -> bool:
    rung = grace
    while rung < evaluation:
        rung *= eta
    return rung == evaluation


def _finite(loss: float) -> float:
    # NaN counts as the worst loss.
    return math.inf if math.isnan(loss) else loss


def _check_options(name: str, *, eta: int, grace: int) -> None:
    if eta < 2:
        raise ValueError(f"pruner '{name}': eta is {eta}: give at least 2, so that one in 2 continues")
    if grace < 1:
        raise ValueError(f"pruner '{name}': grace is {grace}: give at least 1 evaluation")
