"""The final loss of every candidate, as the trials so far tell it: one model of curves and architectures.

Losses are modelled on a logarithmic scale above a floor, which takes the long tail of bad candidates out of the way of
the good ones. A Gaussian process over the architectures is conditioned on final losses and on forecasts of the others.
A forecast is no observation, though: it is what curve and population say together, and population is what the process
says already. So the population is divided out of it, which leaves what the curve alone says; and what forecasts are
wrong in together they are modelled to be (`forecast_errors.py`).

Axes: N candidates, M records, F feature columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.candidates import Candidates, FloatArray, Indices
from depthweave.search.surrogate.forecast_errors import CheckedForecasts, alike, forecast_errors_of
from depthweave.search.surrogate.gaussian_process import GaussianProcess, Population, Posterior

MIN_RECORDS = 3
"""Finished or forecast losses from which on there is a model."""
MAX_RECORDS = 512
"""The records of a process; of more, the lowest losses and an even choice of the others: time grows with the cube."""
_FLOOR_FRAC = 0.5
"""How far the floor lies below the least loss, as a share of the way from there to the median."""
_LEAST_ABOVE_FRAC = 0.1
"""How near the floor a forecast may come, as a share of how near the least loss is."""
_LEAST_OWN_FRAC = 0.1
"""The least share of a forecast's precision that is its curve's."""
_PRIOR_TESTS = 1.0
"""How many tests' worth of belief there is in a forecast's own width."""


class Estimate(NamedTuple):
    """A forecast of a final loss."""

    mean: float
    sd: float


class Evidence(NamedTuple):
    """A trial as the surrogate sees it."""

    row: int
    """Of the candidates."""
    loss: float | None
    """Its final loss, or the forecast of it; `None` while nothing is known."""
    sd: float = 0.0
    """Standard deviation of the forecast; 0 for a trial that trained to its end."""
    finished: bool = False
    """Whether the loss is a final one: only such stand on the front."""
    failed: bool = False
    """Crashed or diverged."""
    costs_C: tuple[float, ...] | None = None
    """Its costs as measured, NaN where one is not; `None` before it measured."""
    earlier: tuple[Estimate, ...] = ()
    """The forecasts at the rungs that it has left behind, by what the curves of others teach."""


class LossPosterior(NamedTuple):
    """Of every candidate, the logarithm of its final loss above the floor."""

    floor: float
    function: Posterior
    """Of an architecture like it, without what is a single training's."""
    outcome: Posterior
    """Of a training of it; of its own trial where there is one."""
    widening: Callable[[Indices], FloatArray]
    """By what factor the standard deviations of some candidates are too narrow, at least 1."""


def loss_posterior(candidates: Candidates, trials: Sequence[Evidence]) -> LossPosterior | None:
    """What the trials say; `None` while that is too little. Those that run without a word come out as expected."""
    # Their costs say nothing of their losses.
    return _losses(_Space(candidates), tuple(item._replace(costs_C=None) for item in trials))


class _Space:
    """Candidates' features, the same where the arrays are."""

    def __init__(self, candidates: Candidates) -> None:
        self.features_NF, self.groups_F = candidates.features_NF, candidates.groups_F

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Space) and self.features_NF is other.features_NF

    def __hash__(self) -> int:
        return id(self.features_NF)


# A chooser that wants a new trial has just asked what the sampler asks next.
@lru_cache(maxsize=1)
def _losses(space: _Space, trials: tuple[Evidence, ...]) -> LossPosterior | None:
    known = [item for item in trials if item.loss is not None or item.failed]
    losses = np.array([item.loss for item in known if item.loss is not None])
    if len(losses) < MIN_RECORDS or not any(item.finished for item in known):
        return None
    floor, worst = _floor(losses), float(losses.max())
    scale = _Scale(floor, float(losses.min()) - floor)
    logs_M, sd_M = scale.logarithms([Estimate(worst if item.loss is None else item.loss, item.sd) for item in known])
    kept = _most_telling(logs_M)
    known, logs_M, sd_M = [known[place] for place in kept], logs_M[kept], sd_M[kept]
    rows = np.array([item.row for item in known], dtype=np.intp)
    pending = np.array([item.row for item in trials if item.loss is None and not item.failed], dtype=np.intp)
    process, widening = _process(space, known, logs_M, sd_M, scale=scale)
    if len(pending):
        expected = process.predict(space.features_NF[pending]).mean_N
        process = process.conditioned(space.features_NF[pending], expected)
    function = process.predict(space.features_NF)
    outcome = Posterior(function.mean_N.copy(), np.hypot(function.sd_N, process.noise_sd))
    # What has ended is as it is; of the others their own curves say more than those of their like.
    outcome.mean_N[rows], outcome.sd_N[rows] = logs_M, 0.0
    unfinished = np.flatnonzero(sd_M)
    if len(unfinished):
        outcome.mean_N[rows[unfinished]], outcome.sd_N[rows[unfinished]] = process.values(unfinished)
    return LossPosterior(floor, function, outcome, widening)


def _process(
    space: _Space, known: Sequence[Evidence], logs_M: FloatArray, sd_M: FloatArray, *, scale: _Scale
) -> tuple[GaussianProcess, Callable[[Indices], FloatArray]]:
    """Conditioned on the records, forecasts without the population and with the errors that they share."""
    population = Population(float(logs_M.mean()), float(np.sqrt(logs_M.var() + np.square(sd_M).mean())))
    said_M, variance_M = _own(logs_M, sd_M, population=population)
    record_D = np.repeat(np.arange(len(known)), [len(item.earlier) for item in known])
    earlier_D = _own(*scale.logarithms([test for item in known for test in item.earlier]), population=population)
    features_MF = space.features_NF[[item.row for item in known]]
    tests = CheckedForecasts(record_D, earlier_D[1], earlier_D[0] - said_M[record_D])
    errors = forecast_errors_of(features_MF, variance_M, tests, groups_F=space.groups_F)
    process = GaussianProcess(
        features_MF,
        said_M - errors.mean_M,
        noise_MM=errors.covariance_MM,
        groups_F=space.groups_F,
        population=population,
    )
    finished = np.array([place for place, item in enumerate(known) if item.finished], dtype=np.intp)
    tested = features_MF[np.concatenate([finished, errors.record_D])]
    off = np.concatenate([process.left_out()[finished], errors.left_out_D])
    return process, partial(_widening, space, tested, off)


def _widening(space: _Space, tested_KF: FloatArray, off_K: FloatArray, rows_N: Indices) -> FloatArray:
    """The factor of each candidate, judged by how forecasts of its like have fared."""
    alike_NK = alike(space.features_NF[rows_N], tested_KF, groups_F=space.groups_F)
    squares_N = (_PRIOR_TESTS + alike_NK @ np.square(off_K)) / (_PRIOR_TESTS + alike_NK.sum(axis=1))
    return np.asarray(np.sqrt(np.maximum(squares_N, 1.0)))


class _Scale(NamedTuple):
    """The logarithmic scale above a floor."""

    floor: float
    least: float
    """How far above it the least loss is."""

    def logarithms(self, estimates: Sequence[Estimate]) -> tuple[FloatArray, FloatArray]:
        """Means and standard deviations of the lognormal distributions that have these."""
        above = np.maximum(np.array([item.mean for item in estimates]) - self.floor, _LEAST_ABOVE_FRAC * self.least)
        variance = np.log1p(np.square(np.array([item.sd for item in estimates]) / above))
        return np.log(above) - 0.5 * variance, np.sqrt(variance)


def _floor(losses: FloatArray) -> float:
    least, middle = float(losses.min()), float(np.median(losses))
    return least - max(_FLOOR_FRAC * (middle - least), 1e-6 * max(abs(least), 1e-6))


def _own(mean: FloatArray, sd: FloatArray, *, population: Population) -> tuple[FloatArray, FloatArray]:
    """What forecasts say without the population: mean and variance; what is certain stays as it is."""
    own = np.maximum(1.0 - np.square(sd / max(population.sd, 1e-12)), _LEAST_OWN_FRAC)
    return population.mean + (mean - population.mean) / np.where(sd > 0.0, own, 1.0), np.square(sd) / own


def _most_telling(logs_M: FloatArray) -> Indices:
    """At most `MAX_RECORDS` records in their order: the lower half of them by loss, and evenly of the rest."""
    if len(logs_M) <= MAX_RECORDS:
        return np.arange(len(logs_M), dtype=np.intp)
    order = np.argsort(logs_M, kind="stable")
    half = MAX_RECORDS // 2
    others = order[half:][np.linspace(0, len(order) - half - 1, half).round().astype(int)]
    return np.unique(np.concatenate([order[:half], others]))
