"""Extrapolates learning curves: forecasts final losses from the curves of the same run.

A chain of regressions leads from rung to rung. Each predicts the drop of the loss to the next rung from the loss at
this rung and the last two drops, and is fitted to every trial that reached the next rung, complete or not. Which trials
continue was decided by the regression's own predictors, so this selection does not bias it. (It would bias a regression
of final losses on early ones; truncated curves are a monotone pattern of missing values.) A forecast runs the chain
from the last rung of a curve: it is a normal distribution, whose variance is propagated through the chain.

Each regression is a Bayesian ridge regression. The prior mean continues the last drop linearly in the logarithm of the
evaluation, which is optimistic: few losses fall that fast for long. The prior is wide. The noise of a curve is
proportional to its last drop. Outlying curves have little weight (Student t noise, by iterative reweighting).

Axes: T trials, R rungs (the last evaluation is the last of them), P predictors, S state of a curve (loss, last drop,
drop before). Losses in nats a token.

Source: T. W. Anderson (1957) for monotone missing values; K. Swersky, J. Snoek and R. P. Adams (2014), Freeze-thaw
Bayesian optimization, arXiv:1406.3896, for deciding among paused trainings by such forecasts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RUNG_FACTOR = 2.0
"""Between two rungs, for the curves that are modelled and for the choosers that decide at them."""
_NUM_STATE = 3
_PRIOR_PRECISION = 0.3
"""Prior precision of the coefficients, in trials; the prior standard deviation is of the size of a predictor's unit."""
_PRIOR_TRIALS = 4.0
"""Weight of the prior of the noise variance, in trials."""
_PRIOR_NOISE_FRAC = 0.5
"""Prior standard deviation of the noise, as a share of the last drop."""
_MIN_VARIANCE = 1e-8
"""In units of the last drop squared: no regression is exact."""
_MIN_DROP_FRAC = 0.1
"""The noise scale of a curve is its last drop plus this share of the median drop: a flat curve is not certain."""
_MIN_UNIT = 1e-6
"""In nats: the unit if all curves are equal."""
_MAX_DISTANCE = 3.0
"""In standard deviations: losses farther from the typical one are clipped. The linear model does not extrapolate."""
_DEGREES_OF_FREEDOM = 4.0
"""Of the Student t distribution of the noise."""
_NUM_REWEIGHTS = 3


class Forecast(NamedTuple):
    """Normal distributions of final losses, `[T]`; the standard deviation is 0 for a complete curve."""

    mean_T: Array
    sd_T: Array


class RungRegression(NamedTuple):
    """The regression of the drop from one rung to the next."""

    coefficients_P: Array
    covariance_PP: Array
    """Of the coefficients, in units of `variance`."""
    variance: float
    """Of the noise, in units of a curve's squared noise scale."""
    level: float
    """The median loss at the rung."""
    unit: float
    """The median drop before the rung."""
    max_distance: float
    """Losses farther from the level are clipped."""


def geometric_rungs(num_evaluations: int, *, grace: int, factor: float) -> tuple[int, ...]:
    """Returns the rungs: `grace`, then each about `factor` times the one before; without the last evaluation."""
    rungs: list[int] = []
    evaluation = grace
    while evaluation < num_evaluations:
        rungs.append(evaluation)
        evaluation = max(evaluation + 1, round(evaluation * factor))
    return tuple(rungs)


def fit_regressions(losses_TR: Array, *, evaluations: Sequence[int]) -> tuple[RungRegression, ...]:
    """Returns the regression from each rung to the next; `evaluations` `[R]` are the rungs, NaN is not reached."""
    regressions: list[RungRegression] = []
    state_TS = _first_state(losses_TR)
    level, spread, unit = 0.0, 1.0, 1.0
    for rung in range(len(evaluations) - 1):
        reached_T = ~np.isnan(losses_TR[:, rung])
        if reached_T.any():
            state_RS = state_TS[reached_T]
            level = float(np.median(state_RS[:, 0]))
            # For a normal distribution the standard deviation is 1.4826 times the median absolute deviation.
            spread = max(1.4826 * float(np.median(np.abs(state_RS[:, 0] - level))), _MIN_UNIT)
            unit = max(float(np.median(np.abs(state_RS[:, 1]))), _MIN_UNIT) if rung else spread
            spread = max(spread, _MIN_DROP_FRAC * unit)
        num = min(2 + rung, 1 + _NUM_STATE)
        precision_P = _PRIOR_PRECISION * np.array([unit**-2, (spread / unit) ** 2, 1.0, 1.0])[:num]
        prior_mean_P = np.zeros(num)
        if rung:
            before, here, after = evaluations[rung - 1 : rung + 2]
            prior_mean_P[2] = math.log(after / here) / math.log(here / before)
        continues_T = ~np.isnan(losses_TR[:, rung + 1])
        max_distance = _MAX_DISTANCE * spread
        features_NP = _features(state_TS[continues_T], level=level, max_distance=max_distance, num=num)
        drop_N = losses_TR[continues_T, rung] - losses_TR[continues_T, rung + 1]
        scale_N = _scale(state_TS[continues_T], unit=unit, rung=rung)
        coefficients_P, covariance_PP, variance = _regress(
            features_NP, drop_N, scale_N, prior_mean_P=prior_mean_P, precision_P=precision_P
        )
        regressions.append(RungRegression(coefficients_P, covariance_PP, variance, level, unit, max_distance))
        state_TS = _next_state(state_TS, losses_TR[:, rung + 1])
    return tuple(regressions)


def forecast_final(regressions: Sequence[RungRegression], losses_TR: Array) -> Forecast:
    """Returns forecasts of the final losses, each from the curve's last rung. The first rung must be reached."""
    state_TS = _first_state(losses_TR)
    noises: list[Array] = []
    slopes: list[Array] = []
    for rung, regression in enumerate(regressions):
        num = len(regression.coefficients_P)
        features_TP = _features(state_TS, level=regression.level, max_distance=regression.max_distance, num=num)
        uncertainty_T = ((features_TP @ regression.covariance_PP) * features_TP).sum(axis=1)
        noise_T = regression.variance * (_scale(state_TS, unit=regression.unit, rung=rung) ** 2 + uncertainty_T)
        slope_TS = np.zeros((len(losses_TR), _NUM_STATE))
        slope_TS[:, : num - 1] = regression.coefficients_P[1:]
        slope_TS[np.abs(state_TS[:, 0] - regression.level) > regression.max_distance, 0] = 0.0
        # Observed losses replace forecasts.
        known_T = ~np.isnan(losses_TR[:, rung + 1])
        noises.append(np.where(known_T, 0.0, noise_T))
        slopes.append(slope_TS)
        forecast_T = state_TS[:, 0] - features_TP @ regression.coefficients_P
        state_TS = _next_state(state_TS, np.where(known_T, losses_TR[:, rung + 1], forecast_T))
    # Backwards: the gradient of the final loss by the state, and so by the noise of each drop.
    gradient_TS = np.zeros_like(state_TS)
    gradient_TS[:, 0] = 1.0
    variance_T = np.zeros(len(losses_TR))
    for noise_T, slope_TS in zip(reversed(noises), reversed(slopes), strict=True):
        by_drop_T = gradient_TS[:, 1] - gradient_TS[:, 0]
        variance_T += by_drop_T**2 * noise_T
        kept_TS = np.column_stack([gradient_TS[:, 0], gradient_TS[:, 2], np.zeros(len(losses_TR))])
        gradient_TS = kept_TS + by_drop_T[:, None] * slope_TS
    return Forecast(state_TS[:, 0], np.sqrt(variance_T))


def _first_state(losses_TR: Array) -> Array:
    state_TS = np.zeros((len(losses_TR), _NUM_STATE))
    state_TS[:, 0] = losses_TR[:, 0]
    return state_TS


def _next_state(state_TS: Array, loss_T: Array) -> Array:
    return np.stack([loss_T, state_TS[:, 0] - loss_T, state_TS[:, 1]], axis=1)


def _features(state_TS: Array, *, level: float, max_distance: float, num: int) -> Array:
    """Returns the predictors: a constant, the loss relative to the median, and the last drops."""
    above_T = np.clip(state_TS[:, 0] - level, -max_distance, max_distance)
    return np.column_stack([np.ones(len(state_TS)), above_T, state_TS[:, 1:]])[:, :num]


def _scale(state_TS: Array, *, unit: float, rung: int) -> Array:
    """Returns the noise scale of each curve."""
    if rung == 0:
        return np.full(len(state_TS), unit)
    return np.asarray(np.abs(state_TS[:, 1]) + _MIN_DROP_FRAC * unit)


def _regress(
    features_NP: Array, drop_N: Array, scale_N: Array, *, prior_mean_P: Array, precision_P: Array
) -> tuple[Array, Array, float]:
    """Returns coefficients, their covariance in units of the variance, and the variance in units of scale squared."""
    weight_N = scale_N**-2.0
    robust_N = np.ones(len(drop_N))
    for _ in range(_NUM_REWEIGHTS):
        weighted_NP = features_NP * (robust_N * weight_N)[:, None]
        covariance_PP = np.linalg.inv(weighted_NP.T @ features_NP + np.diag(precision_P))
        coefficients_P = covariance_PP @ (weighted_NP.T @ drop_N + precision_P * prior_mean_P)
        square_N = (drop_N - features_NP @ coefficients_P) ** 2 * weight_N
        variance = _shrunk(float((robust_N * square_N).sum()), free=len(drop_N) - len(prior_mean_P))
        robust_N = (_DEGREES_OF_FREEDOM + 1.0) / (_DEGREES_OF_FREEDOM + square_N / variance)
    return coefficients_P, np.asarray(covariance_PP, dtype=np.float64), variance


def _shrunk(squares: float, *, free: int) -> float:
    """Returns the variance of residuals with `free` degrees of freedom, shrunk towards the prior variance.

    Logarithms are averaged: for regular curves the prior is a hundred times too wide, and in an average of variances it
    would dominate for hundreds of trials.
    """
    prior = _PRIOR_NOISE_FRAC**2
    if free <= 0:
        return max(prior, squares / _PRIOR_TRIALS)
    found = max(squares / free, _MIN_VARIANCE)
    return math.exp((_PRIOR_TRIALS * math.log(prior) + free * math.log(found)) / (_PRIOR_TRIALS + free))
