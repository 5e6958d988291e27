"""The forecasts that would have been made of trials at their earlier rungs: what has come of them tests the model.

Made anew from the curves each time, so that whoever continues a search has the same ones. The regressions of a trial's
forecasts leave it out: trials are split into parts, and each part is forecast by what the others teach.

Axes: T trials, R rungs and the last evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.learning_curves import Array, fit_links, forecast_final

_FOLDS = 3


class Backtest(NamedTuple):
    """A forecast of a trial from a rung that it has left behind."""

    trial: int
    """Its row."""
    rung: int
    """The column that was its last one then."""
    mean: float
    sd: float


def backtests(losses_TR: Array, *, evaluations: Sequence[int]) -> list[Backtest]:
    """Of every trial from each rung before its last one; by trial, then by rung."""
    last_T = (~np.isnan(losses_TR)).sum(axis=1) - 1
    went_on = np.flatnonzero(last_T > 0)
    found: list[Backtest] = []
    for fold in range(min(_FOLDS, len(went_on))):
        held = went_on[fold::_FOLDS]
        taught = np.ones(len(losses_TR), dtype=bool)
        taught[held] = False
        links = fit_links(losses_TR[taught], evaluations=evaluations)
        trial_P = np.repeat(held, last_T[held])
        rung_P = np.concatenate([np.arange(last_T[trial]) for trial in held])
        known_PR = np.where(np.arange(len(evaluations)) > rung_P[:, None], np.nan, losses_TR[trial_P])
        forecast = forecast_final(links, known_PR)
        columns = (trial_P, rung_P, forecast.mean_T, forecast.sd_T)
        found += map(Backtest, *(column.tolist() for column in columns))
    return sorted(found)
