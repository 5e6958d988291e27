"""Backtests of the learning-curve model: forecasts of trials from earlier rungs, to be compared with what followed.

They are recomputed from the curves each time, so that a resumed search has the same ones. They are cross-validated:
trials are split into folds, and each fold is forecast by regressions that are fitted to the others.

Axes: T trials, R rungs and the last evaluation, P backtests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.learning_curves import Array, fit_regressions, forecast_final

_FOLDS = 3


class Backtest(NamedTuple):
    """A forecast of a trial from an earlier rung."""

    trial: int
    """The trial's row."""
    rung: int
    """The column of the rung."""
    mean: float
    sd: float


def backtests(losses_TR: Array, *, evaluations: Sequence[int]) -> list[Backtest]:
    """Returns the backtests of every trial from each rung before its last one, by trial and rung."""
    last_T = (~np.isnan(losses_TR)).sum(axis=1) - 1
    continued = np.flatnonzero(last_T > 0)
    found: list[Backtest] = []
    for fold in range(min(_FOLDS, len(continued))):
        held_out = continued[fold::_FOLDS]
        training = np.ones(len(losses_TR), dtype=bool)
        training[held_out] = False
        regressions = fit_regressions(losses_TR[training], evaluations=evaluations)
        trial_P = np.repeat(held_out, last_T[held_out])
        rung_P = np.concatenate([np.arange(last_T[trial]) for trial in held_out])
        known_PR = np.where(np.arange(len(evaluations)) > rung_P[:, None], np.nan, losses_TR[trial_P])
        forecast = forecast_final(regressions, known_PR)
        columns = (trial_P, rung_P, forecast.mean_T, forecast.sd_T)
        found += map(Backtest, *(column.tolist() for column in columns))
    return sorted(found)
