"""Backtests: one for each earlier rung, and none that uses later losses."""

from __future__ import annotations

import numpy as np

from depthweave.search.surrogate.backtest import backtests
from depthweave.search.surrogate.evidence import TrialObservation, _forecasts, evidence_of
from depthweave.search.surrogate.learning_curves import Array

EVALUATIONS = (1, 2, 4, 8)


def some_curves(num: int = 12) -> Array:
    rng = np.random.default_rng(0)
    ends = rng.normal(2.0, 0.1, num)
    losses_TR = ends[:, None] + np.array([0.9, 0.5, 0.2, 0.0]) * rng.uniform(0.8, 1.2, (num, 1))
    for trial in range(num):
        losses_TR[trial, 1 + trial % 4 :] = np.nan
    return np.asarray(losses_TR)


def test_every_rung_before_the_last_is_forecast() -> None:
    found = backtests(some_curves(), evaluations=EVALUATIONS)
    assert [(item.trial, item.rung) for item in found] == [
        (trial, rung) for trial in range(12) for rung in range(trial % 4)
    ]
    assert all(item.sd > 0.0 for item in found)


def test_backtest_does_not_use_later_losses_of_its_trial() -> None:
    losses_TR = some_curves()
    before = [item for item in backtests(losses_TR, evaluations=EVALUATIONS) if item.trial == 3]
    losses_TR[3, 1:] += 0.5
    after = [item for item in backtests(losses_TR, evaluations=EVALUATIONS) if item.trial == 3]
    assert before[0] == after[0]
    assert before[2] != after[2]


def test_without_a_second_rung_there_are_no_backtests() -> None:
    losses_TR = some_curves()
    losses_TR[:, 1:] = np.nan
    assert backtests(losses_TR, evaluations=EVALUATIONS) == []


def test_evidence_is_a_function_of_the_trials_alone() -> None:
    curves = [tuple(row[~np.isnan(row)].tolist()) for row in some_curves()]
    observations = [
        TrialObservation(row, losses, "complete" if len(losses) == len(EVALUATIONS) else "unfinished", None)
        for row, losses in enumerate(curves)
    ]
    first = evidence_of(observations)
    evidence_of(observations[:6])
    _forecasts.cache_clear()
    assert evidence_of(observations) == first
    assert [len(item.earlier) for item in first] == [row % 4 for row in range(12)]
    assert all(item.finished == (row % 4 == 3) for row, item in enumerate(first))
