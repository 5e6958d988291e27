"""How low a loss curve will end, learned from the curves of the same run.

A chain of regressions leads from rung to rung: the drop of the loss to the next rung, given the loss at this one and
the last two drops. Every trial that reached the next rung teaches its link, finished or not. Who goes on was decided
by what the regression is given, so the better ones that go on do not bend it, as they would bend a regression of the
final losses of the finished (curves that break off are a monotone pattern of missing values). A curve's forecast is
the chain run from its last rung: a normal distribution, whose variance is carried through the links.

Each link is a Bayesian ridge regression. Before there are data, the next drop is the last one continued in the
logarithm of the evaluation (a loss that falls as fast as that rarely does for long: optimistic), and wide. The noise
of a curve is in proportion to its last drop; a curve unlike all others has little weight (Student t, reweighted).

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

_NUM_STATE = 3
_PRIOR_WEIGHT = 0.3
"""Precision of the coefficients before there are data, in trials; a coefficient is of the size of its unit."""
_PRIOR_TRIALS = 4.0
"""How many trials' worth of belief the noise before there are data has."""
_PRIOR_NOISE_FRAC = 0.5
"""That noise, as a share of the last drop."""
_LEAST_VARIANCE = 1e-8
"""In units of the last drop squared: no rule is exact."""
_LEAST_FRAC = 0.1
"""A curve's noise is that of its last drop plus this share of the median one: no curve is exact because it stands."""
_LEAST_UNIT = 1e-6
"""Nats; the unit where all curves are alike."""
_REACH = 3.0
"""In standard deviations: a linear rule of all curves says nothing of one that lies far from them."""
_FREEDOM = 4.0
"""Degrees of freedom of the Student t that outliers are weighed by."""
_NUM_REWEIGHTS = 3


class Forecast(NamedTuple):
    """Final losses, `[T]`: normal, with standard deviation 0 where the curve is whole."""

    mean_T: Array
    sd_T: Array


class Link(NamedTuple):
    """The regression of the drop from one rung to the next."""

    coefficients_P: Array
    covariance_PP: Array
    """Of the coefficients, in units of `variance`."""
    variance: float
    """Of the noise, in units of a curve's own scale squared."""
    level: float
    """The typical loss at the rung."""
    unit: float
    """The typical drop before the rung."""
    reach: float
    """How far from the level a loss counts as it is; one farther off counts as one so far off."""


def geometric_rungs(num_evaluations: int, *, grace: int, factor: float) -> tuple[int, ...]:
    """Evaluations after which is decided: `grace`, then each about `factor` times the one before, without the last."""
    rungs: list[int] = []
    evaluation = grace
    while evaluation < num_evaluations:
        rungs.append(evaluation)
        evaluation = max(evaluation + 1, round(evaluation * factor))
    return tuple(rungs)


def fit_links(losses_TR: Array, *, evaluations: Sequence[int]) -> tuple[Link, ...]:
    """One link from each rung to the next; `evaluations` says how many each rung stands for, NaN is not reached."""
    links: list[Link] = []
    state_TS = _first_state(losses_TR)
    level, spread, unit = 0.0, 1.0, 1.0
    for rung in range(len(evaluations) - 1):
        reached_T = ~np.isnan(losses_TR[:, rung])
        if reached_T.any():
            state_RS = state_TS[reached_T]
            level = float(np.median(state_RS[:, 0]))
            # 1.4826 medians of absolute deviation are the standard deviation of a normal distribution.
            spread = max(1.4826 * float(np.median(np.abs(state_RS[:, 0] - level))), _LEAST_UNIT)
            unit = max(float(np.median(np.abs(state_RS[:, 1]))), _LEAST_UNIT) if rung else spread
            spread = max(spread, _LEAST_FRAC * unit)
        num = min(2 + rung, 1 + _NUM_STATE)
        precision_P = _PRIOR_WEIGHT * np.array([unit**-2, (spread / unit) ** 2, 1.0, 1.0])[:num]
        guess_P = np.zeros(num)
        if rung:
            before, here, after = evaluations[rung - 1 : rung + 2]
            guess_P[2] = math.log(after / here) / math.log(here / before)
        goes_T = ~np.isnan(losses_TR[:, rung + 1])
        reach = _REACH * spread
        features_NP = _features(state_TS[goes_T], level=level, reach=reach, num=num)
        drop_N = losses_TR[goes_T, rung] - losses_TR[goes_T, rung + 1]
        scale_N = _scale(state_TS[goes_T], unit=unit, rung=rung)
        coefficients_P, covariance_PP, variance = _regress(
            features_NP, drop_N, scale_N, guess_P=guess_P, precision_P=precision_P
        )
        links.append(Link(coefficients_P, covariance_PP, variance, level, unit, reach))
        state_TS = _next_state(state_TS, losses_TR[:, rung + 1])
    return tuple(links)


def forecast_final(links: Sequence[Link], losses_TR: Array) -> Forecast:
    """The final losses of curves, each from the last rung that it reached; the first one must be."""
    state_TS = _first_state(losses_TR)
    noises: list[Array] = []
    slopes: list[Array] = []
    for rung, link in enumerate(links):
        num = len(link.coefficients_P)
        features_TP = _features(state_TS, level=link.level, reach=link.reach, num=num)
        doubt_T = ((features_TP @ link.covariance_PP) * features_TP).sum(axis=1)
        noise_T = link.variance * (_scale(state_TS, unit=link.unit, rung=rung) ** 2 + doubt_T)
        slope_TS = np.zeros((len(losses_TR), _NUM_STATE))
        slope_TS[:, : num - 1] = link.coefficients_P[1:]
        slope_TS[np.abs(state_TS[:, 0] - link.level) > link.reach, 0] = 0.0
        # What was observed takes the place of what was forecast.
        known_T = ~np.isnan(losses_TR[:, rung + 1])
        noises.append(np.where(known_T, 0.0, noise_T))
        slopes.append(slope_TS)
        forecast_T = state_TS[:, 0] - features_TP @ link.coefficients_P
        state_TS = _next_state(state_TS, np.where(known_T, losses_TR[:, rung + 1], forecast_T))
    # From the end back: how much the final loss moves with the state, and so with the noise of each drop.
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


def _features(state_TS: Array, *, level: float, reach: float, num: int) -> Array:
    """The predictors: one, the loss against the typical one, and the drops there have been."""
    above_T = np.clip(state_TS[:, 0] - level, -reach, reach)
    return np.column_stack([np.ones(len(state_TS)), above_T, state_TS[:, 1:]])[:, :num]


def _scale(state_TS: Array, *, unit: float, rung: int) -> Array:
    if rung == 0:
        return np.full(len(state_TS), unit)
    return np.asarray(np.abs(state_TS[:, 1]) + _LEAST_FRAC * unit)


def _regress(
    features_NP: Array, drop_N: Array, scale_N: Array, *, guess_P: Array, precision_P: Array
) -> tuple[Array, Array, float]:
    """Coefficients, their covariance in units of the noise, and the noise in units of the scale squared."""
    weight_N = scale_N**-2.0
    robust_N = np.ones(len(drop_N))
    for _ in range(_NUM_REWEIGHTS):
        weighted_NP = features_NP * (robust_N * weight_N)[:, None]
        covariance_PP = np.linalg.inv(weighted_NP.T @ features_NP + np.diag(precision_P))
        coefficients_P = covariance_PP @ (weighted_NP.T @ drop_N + precision_P * guess_P)
        square_N = (drop_N - features_NP @ coefficients_P) ** 2 * weight_N
        variance = _shrunk(float((robust_N * square_N).sum()), free=len(drop_N) - len(guess_P))
        robust_N = (_FREEDOM + 1.0) / (_FREEDOM + square_N / variance)
    return coefficients_P, np.asarray(covariance_PP, dtype=np.float64), variance


def _shrunk(squares: float, *, free: int) -> float:
    """The variance of residuals with so many degrees of freedom, drawn toward the one before there are data.

    In logarithms: on the average of the variances, a prior that is a hundred times too wide would take hundreds of
    trials to forget, and where curves are regular it is.
    """
    prior = _PRIOR_NOISE_FRAC**2
    if free <= 0:
        return max(prior, squares / _PRIOR_TRIALS)
    found = max(squares / free, _LEAST_VARIANCE)
    return math.exp((_PRIOR_TRIALS * math.log(prior) + free * math.log(found)) / (_PRIOR_TRIALS + free))
