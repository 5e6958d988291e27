"""Turns the observations of trials into evidence for the surrogate: final losses, and forecasts of unknown ones.

The sampler observes trials through an Optuna study and the chooser through snapshots; both give the same evidence.

Axes: T trials, R rungs and the last evaluation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from depthweave.search.surrogate.backtest import backtests
from depthweave.search.surrogate.learning_curves import RUNG_FACTOR, fit_regressions, forecast_final, geometric_rungs
from depthweave.search.surrogate.loss_model import Evidence
from depthweave.search.surrogate.loss_scale import Estimate


class TrialObservation(NamedTuple):
    """What is known of a trial."""

    row: int
    """Its candidate."""
    losses: tuple[float, ...]
    """After evaluation 1, 2, ...; only the final loss where there is no curve."""
    state: Literal["unfinished", "complete", "failed"]
    costs_C: tuple[float, ...] | None
    """Measured costs, NaN or infinite where unknown; `None` before the measurement."""


def evidence_of(trials: Sequence[TrialObservation]) -> list[Evidence]:
    """Returns the evidence of each trial, in their order.

    Curves are forecast once one is complete. Until then an unfinished trial counts as one without a loss.
    """
    found = _forecasts(tuple((item.losses, item.state) for item in trials))
    return [_evidence(item, *forecast) for item, forecast in zip(trials, found, strict=True)]


class _Forecasts(NamedTuple):
    """The forecasts of one trial."""

    last: Estimate | None = None
    earlier: tuple[Estimate, ...] = ()


# When a chooser starts a new trial, the sampler asks for the same forecasts next.
@lru_cache(maxsize=1)
def _forecasts(curves: tuple[tuple[tuple[float, ...], str], ...]) -> list[_Forecasts]:
    """Returns the forecasts of each trial, from its losses and state."""
    num_evaluations = max((len(losses) for losses, state in curves if state == "complete"), default=0)
    started = [place for place, (losses, state) in enumerate(curves) if losses and state != "failed"]
    if num_evaluations < 2:
        return [_Forecasts()] * len(curves)
    evaluations = _modelled_evaluations([len(curves[place][0]) for place in started], num_evaluations=num_evaluations)
    losses_TR = np.full((len(started), len(evaluations)), np.nan)
    for row, place in enumerate(started):
        losses = curves[place][0]
        reached = [losses[evaluation - 1] for evaluation in evaluations if evaluation <= len(losses)]
        losses_TR[row, : len(reached)] = reached
    forecast = forecast_final(fit_regressions(losses_TR, evaluations=evaluations), losses_TR)
    earlier: dict[int, list[Estimate]] = defaultdict(list)
    for item in backtests(losses_TR, evaluations=evaluations):
        earlier[item.trial].append(Estimate(item.mean, item.sd))
    forecasts = [_Forecasts()] * len(curves)
    for row, place in enumerate(started):
        last = Estimate(float(forecast.mean_T[row]), float(forecast.sd_T[row]))
        forecasts[place] = _Forecasts(last, tuple(earlier[row]))
    return forecasts


def _modelled_evaluations(lengths: Sequence[int], *, num_evaluations: int) -> tuple[int, ...]:
    """Returns the evaluations at which curves are modelled: rungs by factors of two, and common lengths of curves."""
    common = {length for length in set(lengths) if length < num_evaluations and lengths.count(length) > 2}
    rungs = geometric_rungs(num_evaluations, grace=1, factor=RUNG_FACTOR)
    return (*sorted({*rungs, *common}), num_evaluations)


def _evidence(item: TrialObservation, last: Estimate | None, earlier: tuple[Estimate, ...]) -> Evidence:
    if item.state == "complete":
        return Evidence(item.row, item.losses[-1], finished=True, costs_C=item.costs_C, earlier=earlier)
    if item.state == "failed" or last is None:
        return Evidence(item.row, None, failed=item.state == "failed", costs_C=item.costs_C)
    return Evidence(item.row, last.mean, last.sd, costs_C=item.costs_C, earlier=earlier)
