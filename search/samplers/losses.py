"""The final loss of every candidate, as the trials so far tell it: one model of curves and architectures.

Losses are modelled on a logarithmic scale above a floor, which takes the long tail of bad candidates out of the way of
the good ones. A Gaussian process over the architectures is conditioned on final losses and on forecasts of the others.
A forecast is no observation, though: it is what curve and population say together, and population is what the process
says already. So the population is divided out of it, which leaves what the curve alone says; and what forecasts are
wrong in together they are modelled to be (`forecast_errors.py`).

Axes: N candidates, M records, F feature columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from depthweave.search.samplers.candidates import Candidates, FloatArray, Indices
from depthweave.search.samplers.forecast_errors import Tests, errors_of
from depthweave.search.samplers.gaussian_process import GaussianProcess, Population, Posterior

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


class Losses(NamedTuple):
    """Of every candidate, the logarithm of its final loss above the floor."""

    floor: float
    function: Posterior
    """Of an architecture like it, without what is a single training's."""
    outcome: Posterior
    """Of a training of it; of its own trial where there is one."""


def losses_of(candidates: Candidates, trials: Sequence[Evidence]) -> Losses | None:
    """What the trials say; `None` while that is too little. Those that run without a word come out as expected."""
    known = [item for item in trials if item.loss is not None or item.failed]
    losses = np.array([item.loss for item in known if item.loss is not None])
    if len(losses) < MIN_RECORDS or not any(item.finished for item in known):
        return None
    floor = _floor(losses)
    worst = float(losses.max())
    logs_M, sd_M = _logarithms(
        [Estimate(worst if item.loss is None else item.loss, item.sd) for item in known],
        floor=floor,
        least=float(losses.min()) - floor,
    )
    kept = _most_telling(logs_M)
    known, logs_M, sd_M = [known[place] for place in kept], logs_M[kept], sd_M[kept]
    population = Population(float(logs_M.mean()), float(np.sqrt(logs_M.var() + np.square(sd_M).mean())))
    said_M, variance_M = _own(logs_M, sd_M, population=population)
    earlier = [(place, item) for place, record in enumerate(known) for item in record.earlier]
    record_D = np.array([place for place, _ in earlier], dtype=np.intp)
    before_D, before_sd_D = _logarithms([item for _, item in earlier], floor=floor, least=float(losses.min()) - floor)
    before_D, variance_D = _own(before_D, before_sd_D, population=population)
    rows = np.array([item.row for item in known], dtype=np.intp)
    features_NF, groups_F = candidates.features_NF, candidates.groups_F
    tests = Tests(record_D, variance_D, before_D - said_M[record_D])
    errors = errors_of(features_NF[rows], variance_M, tests, groups_F=groups_F)
    process = GaussianProcess(
        features_NF[rows],
        said_M - errors.mean_M,
        noise_MM=errors.covariance_MM,
        groups_F=groups_F,
        population=population,
    )
    pending = np.array([item.row for item in trials if item.loss is None and not item.failed], dtype=np.intp)
    if len(pending):
        process = process.conditioned(features_NF[pending], process.predict(features_NF[pending]).mean_N)
    function, values = process.predict(features_NF), process.values()
    outcome = Posterior(function.mean_N.copy(), np.hypot(function.sd_N, process.noise_sd))
    outcome.mean_N[rows], outcome.sd_N[rows] = values.mean_N[: len(rows)], values.sd_N[: len(rows)]
    return Losses(floor, function, outcome)


def _floor(losses: FloatArray) -> float:
    least, middle = float(losses.min()), float(np.median(losses))
    return least - max(_FLOOR_FRAC * (middle - least), 1e-6 * max(abs(least), 1e-6))


def _logarithms(estimates: Sequence[Estimate], *, floor: float, least: float) -> tuple[FloatArray, FloatArray]:
    """Means and standard deviations above the floor, on the logarithmic scale, to first order."""
    above = np.maximum(np.array([item.mean for item in estimates]) - floor, _LEAST_ABOVE_FRAC * least)
    return np.log(above), np.array([item.sd for item in estimates]) / above


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
