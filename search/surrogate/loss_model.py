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
from depthweave.search.surrogate.loss_scale import Estimate, LossScale
from depthweave.search.surrogate.source_prior import KnownLosses, prior_alone, source_prior

MIN_RECORDS = 3
"""Minimum number of known or forecast losses for a model; with sources, of final losses."""
MAX_RECORDS = 512
"""Maximum number of records, the lowest losses and an even choice of others: the cost is cubic in it."""
_MIN_CURVE_FRAC = 0.1
"""Smallest share of a forecast's precision that is attributed to its curve."""
_PRIOR_BACKTESTS = 1.0
"""Weight of the prior, in which forecasts are calibrated, in backtests."""


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
    is_prior: bool = False
    """Whether it rests on other runs alone, because the search has too few losses of its own."""


def loss_posterior(candidates: Candidates, trials: Sequence[Evidence]) -> LossPosterior | None:
    """Returns the posterior. Running trials without a loss get their expected loss.

    With too few losses it is that of the sources alone, and `None` without sources.
    """
    # Costs are not used here. With them, trials with a new measurement would miss the cache.
    return _losses(_Space(candidates), tuple(item._replace(costs_C=None) for item in trials))


class _Space:
    """What the losses of candidates are predicted from, compared by identity for the cache."""

    def __init__(self, candidates: Candidates) -> None:
        self.features_NF, self.groups_F = candidates.features_NF, candidates.groups_F
        self.source_logs_NK = candidates.source_logs_NK

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Space)
            and self.features_NF is other.features_NF
            and self.source_logs_NK is other.source_logs_NK
        )

    def __hash__(self) -> int:
        return id(self.features_NF)


# When a chooser starts a new trial, the sampler asks for the same posterior next.
@lru_cache(maxsize=1)
def _losses(space: _Space, trials: tuple[Evidence, ...]) -> LossPosterior | None:
    known = [item for item in trials if item.loss is not None or item.failed]
    losses = np.array([item.loss for item in known if item.loss is not None])
    num_finished = sum(item.finished for item in known)
    if space.source_logs_NK is not None and num_finished < MIN_RECORDS:
        return _from_sources_alone(space.source_logs_NK, trials)
    if len(losses) < MIN_RECORDS or not num_finished:
        return None
    scale, worst = LossScale.of(losses), float(losses.max())
    logs_M, sd_M = scale.logarithms([Estimate(worst if item.loss is None else item.loss, item.sd) for item in known])
    kept = _most_informative(logs_M)
    known, logs_M, sd_M = [known[place] for place in kept], logs_M[kept], sd_M[kept]
    rows = np.array([item.row for item in known], dtype=np.intp)
    pending = np.array([item.row for item in trials if item.loss is None and not item.failed], dtype=np.intp)
    process, offset_N, calibration = _process(space, known, logs_M, sd_M, scale=scale)
    if len(pending):
        expected = process.predict(space.features_NF[pending]).mean_N
        process = process.conditioned(space.features_NF[pending], expected)
    difference = process.predict(space.features_NF)
    function = Posterior(offset_N + difference.mean_N, difference.sd_N)
    outcome = Posterior(function.mean_N.copy(), np.hypot(function.sd_N, process.noise_sd))
    # Final losses are known. For unfinished trials their own curves are used as well.
    outcome.mean_N[rows], outcome.sd_N[rows] = logs_M, 0.0
    unfinished = np.flatnonzero(sd_M)
    if len(unfinished):
        own = process.values(unfinished)
        outcome.mean_N[rows[unfinished]] = offset_N[rows[unfinished]] + own.mean_N
        outcome.sd_N[rows[unfinished]] = own.sd_N
    return LossPosterior(scale.floor, function, outcome, calibration)


def _from_sources_alone(source_logs_NK: FloatArray, trials: Sequence[Evidence]) -> LossPosterior:
    """Returns what other runs expect, on the level of the complete trials."""
    finished = [item for item in trials if item.finished and item.loss is not None]
    rows = np.array([item.row for item in finished], dtype=np.intp)
    losses = np.array([item.loss for item in finished], dtype=np.float64)
    scale, prior = prior_alone(source_logs_NK, rows, losses)
    function = Posterior(prior.offset_N, np.full(len(prior.offset_N), prior.difference_sd))
    outcome = Posterior(function.mean_N.copy(), function.sd_N.copy())
    outcome.mean_N[rows], outcome.sd_N[rows] = scale.logarithm(losses), 0.0
    return LossPosterior(scale.floor, function, outcome, lambda wanted: np.ones(len(wanted)), is_prior=True)


def _process(
    space: _Space,
    known: Sequence[Evidence],
    logs_M: FloatArray,
    sd_M: FloatArray,
    *,
    scale: LossScale,
) -> tuple[GaussianProcess, FloatArray, Callable[[Indices], FloatArray]]:
    """Returns the process conditioned on losses and forecasts, whose errors are correlated; offsets; the calibration.

    The process models the difference to the offsets, which are what other runs let expect, 0 without any.
    """
    population = Population(float(logs_M.mean()), float(np.sqrt(logs_M.var() + np.square(sd_M).mean())))
    likelihood_M, variance_M = _without_population(logs_M, sd_M, population=population)
    record_D = np.repeat(np.arange(len(known)), [len(item.earlier) for item in known])
    earlier_D = _without_population(
        *scale.logarithms([forecast for item in known for forecast in item.earlier]), population=population
    )
    features_MF = space.features_NF[[item.row for item in known]]
    backtests = CheckedForecasts(record_D, earlier_D[1], earlier_D[0] - likelihood_M[record_D])
    errors = forecast_errors_of(features_MF, variance_M, backtests, groups_F=space.groups_F)
    rows_M = np.array([item.row for item in known], dtype=np.intp)
    values_M, offset_N = likelihood_M - errors.mean_M, np.zeros(len(space.features_NF))
    if space.source_logs_NK is not None:
        known_losses = KnownLosses(rows_M, values_M, errors.covariance_MM, population.sd)
        prior = source_prior(
            space.source_logs_NK, space.features_NF, known_losses, scale=scale, groups_F=space.groups_F
        )
        offset_N = prior.offset_N
        population = Population(float((logs_M - offset_N[rows_M]).mean()), prior.difference_sd)
    process = GaussianProcess(
        features_MF,
        values_M - offset_N[rows_M],
        noise_MM=errors.covariance_MM,
        groups_F=space.groups_F,
        population=population,
    )
    finished = np.array([place for place, item in enumerate(known) if item.finished], dtype=np.intp)
    checked_KF = features_MF[np.concatenate([finished, errors.record_D])]
    residual_K = np.concatenate([process.leave_one_out_residuals()[finished], errors.residual_D])
    return process, offset_N, partial(_calibration, space, checked_KF, residual_K)


def _calibration(space: _Space, checked_KF: FloatArray, residual_K: FloatArray, rows_N: Indices) -> FloatArray:
    """Returns for each candidate the root mean square of the standardised residuals, weighted by similarity."""
    weight_NK = similarity(space.features_NF[rows_N], checked_KF, groups_F=space.groups_F)
    squares_N = (_PRIOR_BACKTESTS + weight_NK @ np.square(residual_K)) / (_PRIOR_BACKTESTS + weight_NK.sum(axis=1))
    return np.asarray(np.sqrt(np.maximum(squares_N, 1.0)))


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
