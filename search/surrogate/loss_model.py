"""The posterior of every candidate's final loss, given the trials: one model of curves and architectures.

Losses are modelled as logarithms above a floor, so that the long tail of bad candidates does not dominate. A Gaussian
process over the architectures is conditioned on final losses and on forecasts. A forecast is not an observation: it
combines the curve with the population of curves, and the process already models the population. So the population is
divided out of the forecast, which leaves the likelihood of the curve alone. The errors that forecasts have in common
are modelled too (`forecast_errors.py`).

Axes: N candidates, M records, F feature columns, D and K backtests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.candidates import Candidates, FloatArray, Indices
from depthweave.search.surrogate.forecast_errors import CheckedForecasts, forecast_errors_of, similarity
from depthweave.search.surrogate.gaussian_process import GaussianProcess, Population, Posterior

MIN_RECORDS = 3
"""Minimum number of known or forecast losses for a model."""
MAX_RECORDS = 512
"""Maximum number of records, the lowest losses and an even choice of others: the cost is cubic in it."""
_FLOOR_FRAC = 2.0
"""Distance of the floor below the lowest loss, as a share of the distance from there to the median."""
_MIN_HEIGHT_FRAC = 0.1
"""Smallest height of a forecast above the floor, as a share of that of the lowest loss."""
_MIN_CURVE_FRAC = 0.1
"""Smallest share of a forecast's precision that is attributed to its curve."""
_PRIOR_BACKTESTS = 1.0
"""Weight of the prior, in which forecasts are calibrated, in backtests."""


class Estimate(NamedTuple):
    """A forecast of a final loss."""

    mean: float
    sd: float


class Evidence(NamedTuple):
    """What the surrogate knows of a trial."""

    row: int
    """Its candidate."""
    loss: float | None
    """Its final loss or the forecast of it; `None` while unknown."""
    sd: float = 0.0
    """Standard deviation of the forecast; 0 for a complete trial."""
    finished: bool = False
    """Whether the loss is final. Only such trials are on the front."""
    failed: bool = False
    """Crashed or diverged."""
    costs_C: tuple[float, ...] | None = None
    """Its measured costs, NaN where unknown; `None` before the measurement."""
    earlier: tuple[Estimate, ...] = ()
    """Backtests: forecasts from its earlier rungs, fitted to the curves of other trials."""


class LossPosterior(NamedTuple):
    """The posterior of the logarithm of every candidate's final loss above the floor."""

    floor: float
    function: Posterior
    """Of the expected loss of the architecture, without the noise of a single training."""
    outcome: Posterior
    """Of the loss of one training; of the candidate's own trial if there is one."""
    calibration: Callable[[Indices], FloatArray]
    """Returns the factors, at least 1, by which the standard deviations of these candidates have to be multiplied."""


def loss_posterior(candidates: Candidates, trials: Sequence[Evidence]) -> LossPosterior | None:
    """Returns the posterior; `None` with too few losses. Running trials without a loss get their expected loss."""
    # Costs are not used here. With them, trials with a new measurement would miss the cache.
    return _losses(_Space(candidates), tuple(item._replace(costs_C=None) for item in trials))


class _Space:
    """The features of candidates, compared by identity for the cache."""

    def __init__(self, candidates: Candidates) -> None:
        self.features_NF, self.groups_F = candidates.features_NF, candidates.groups_F

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Space) and self.features_NF is other.features_NF

    def __hash__(self) -> int:
        return id(self.features_NF)


# When a chooser starts a new trial, the sampler asks for the same posterior next.
@lru_cache(maxsize=1)
def _losses(space: _Space, trials: tuple[Evidence, ...]) -> LossPosterior | None:
    known = [item for item in trials if item.loss is not None or item.failed]
    losses = np.array([item.loss for item in known if item.loss is not None])
    if len(losses) < MIN_RECORDS or not any(item.finished for item in known):
        return None
    floor, worst = _floor(losses), float(losses.max())
    scale = _Scale(floor, float(losses.min()) - floor)
    logs_M, sd_M = scale.logarithms([Estimate(worst if item.loss is None else item.loss, item.sd) for item in known])
    kept = _most_informative(logs_M)
    known, logs_M, sd_M = [known[place] for place in kept], logs_M[kept], sd_M[kept]
    rows = np.array([item.row for item in known], dtype=np.intp)
    pending = np.array([item.row for item in trials if item.loss is None and not item.failed], dtype=np.intp)
    process, calibration = _process(space, known, logs_M, sd_M, scale=scale)
    if len(pending):
        expected = process.predict(space.features_NF[pending]).mean_N
        process = process.conditioned(space.features_NF[pending], expected)
    function = process.predict(space.features_NF)
    outcome = Posterior(function.mean_N.copy(), np.hypot(function.sd_N, process.noise_sd))
    # Final losses are known. For unfinished trials their own curves are used as well.
    outcome.mean_N[rows], outcome.sd_N[rows] = logs_M, 0.0
    unfinished = np.flatnonzero(sd_M)
    if len(unfinished):
        outcome.mean_N[rows[unfinished]], outcome.sd_N[rows[unfinished]] = process.values(unfinished)
    return LossPosterior(floor, function, outcome, calibration)


def _process(
    space: _Space, known: Sequence[Evidence], logs_M: FloatArray, sd_M: FloatArray, *, scale: _Scale
) -> tuple[GaussianProcess, Callable[[Indices], FloatArray]]:
    """Returns the process conditioned on losses and forecasts, whose errors are correlated, and the calibration."""
    population = Population(float(logs_M.mean()), float(np.sqrt(logs_M.var() + np.square(sd_M).mean())))
    likelihood_M, variance_M = _without_population(logs_M, sd_M, population=population)
    record_D = np.repeat(np.arange(len(known)), [len(item.earlier) for item in known])
    earlier_D = _without_population(
        *scale.logarithms([forecast for item in known for forecast in item.earlier]), population=population
    )
    features_MF = space.features_NF[[item.row for item in known]]
    backtests = CheckedForecasts(record_D, earlier_D[1], earlier_D[0] - likelihood_M[record_D])
    errors = forecast_errors_of(features_MF, variance_M, backtests, groups_F=space.groups_F)
    process = GaussianProcess(
        features_MF,
        likelihood_M - errors.mean_M,
        noise_MM=errors.covariance_MM,
        groups_F=space.groups_F,
        population=population,
    )
    finished = np.array([place for place, item in enumerate(known) if item.finished], dtype=np.intp)
    checked_KF = features_MF[np.concatenate([finished, errors.record_D])]
    residual_K = np.concatenate([process.leave_one_out_residuals()[finished], errors.residual_D])
    return process, partial(_calibration, space, checked_KF, residual_K)


def _calibration(space: _Space, checked_KF: FloatArray, residual_K: FloatArray, rows_N: Indices) -> FloatArray:
    """Returns for each candidate the root mean square of the standardised residuals, weighted by similarity."""
    weight_NK = similarity(space.features_NF[rows_N], checked_KF, groups_F=space.groups_F)
    squares_N = (_PRIOR_BACKTESTS + weight_NK @ np.square(residual_K)) / (_PRIOR_BACKTESTS + weight_NK.sum(axis=1))
    return np.asarray(np.sqrt(np.maximum(squares_N, 1.0)))


class _Scale(NamedTuple):
    """The logarithmic scale above a floor."""

    floor: float
    lowest: float
    """Height of the lowest loss above it."""

    def logarithms(self, estimates: Sequence[Estimate]) -> tuple[FloatArray, FloatArray]:
        """Returns mean and standard deviation of the logarithms of the heights above the floor."""
        height = np.maximum(np.array([item.mean for item in estimates]) - self.floor, _MIN_HEIGHT_FRAC * self.lowest)
        variance = np.log1p(np.square(np.array([item.sd for item in estimates]) / height))
        return np.log(height) - 0.5 * variance, np.sqrt(variance)


def _floor(losses: FloatArray) -> float:
    lowest, median = float(losses.min()), float(np.median(losses))
    return lowest - max(_FLOOR_FRAC * (median - lowest), 1e-6 * max(abs(lowest), 1e-6))


def _without_population(mean: FloatArray, sd: FloatArray, *, population: Population) -> tuple[FloatArray, FloatArray]:
    """Returns mean and variance of forecasts with the population divided out; final losses (`sd` 0) are unchanged."""
    curve_frac = np.maximum(1.0 - np.square(sd / max(population.sd, 1e-12)), _MIN_CURVE_FRAC)
    return population.mean + (mean - population.mean) / np.where(sd > 0.0, curve_frac, 1.0), np.square(sd) / curve_frac


def _most_informative(logs_M: FloatArray) -> Indices:
    """Returns at most `MAX_RECORDS` indices, ascending: half of them the lowest losses, half evenly from the others."""
    if len(logs_M) <= MAX_RECORDS:
        return np.arange(len(logs_M), dtype=np.intp)
    order = np.argsort(logs_M, kind="stable")
    half = MAX_RECORDS // 2
    others = order[half:][np.linspace(0, len(order) - half - 1, half).round().astype(int)]
    return np.unique(np.concatenate([order[:half], others]))
