"""What the trials so far say of every candidate: a distribution of its final loss, and its costs.

The loss is modelled on a logarithmic scale above a floor, which takes the long tail of bad candidates out of the way
of the good ones. A trial that was stopped or still trains is a record too, with the uncertainty of its forecast; one
that failed counts as the worst. Costs that only a trial can tell are learned from those that were measured.

Axes: N candidates, T trials, M records, C costs, H hints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import moocore
import numpy as np

from depthweave.search.improvement import hypervolume_improvement, lognormal_improvement
from depthweave.search.samplers.candidates import Candidates, FloatArray, Indices
from depthweave.search.samplers.cost_model import predicted_cost
from depthweave.search.samplers.gaussian_process import GaussianProcess, Posterior

MIN_RECORDS = 3
"""Finished or forecast losses from which on there is a surrogate."""
MAX_RECORDS = 512
"""The records of a surrogate; of more, the lowest losses and an even choice of the others: time grows with the cube."""
_FLOOR_FRAC = 0.5
"""How far the floor lies below the least loss, as a share of the way from there to the median."""
_MARGIN_FRAC = 0.1
"""How far the reference point lies beyond the worst, as a share of best to worst."""
_COST_NODES = ((-np.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (np.sqrt(3.0), 1 / 6))
"""Gauss-Hermite nodes and weights: an expectation over a cost that is not known yet."""


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


class Outlook(NamedTuple):
    """What is expected of every candidate."""

    mean_N: FloatArray
    """Of the final loss."""
    sd_N: FloatArray
    gains_N: FloatArray
    """Expected hypervolume improvement, costs scaled to the range that they span."""


class KnownCosts(NamedTuple):
    """The costs of all candidates, exact or predicted."""

    costs_NC: FloatArray
    log_sd_NC: FloatArray
    """Of the logarithm of what is predicted; 0 where known or measured."""


def outlook(candidates: Candidates, trials: Sequence[Evidence], *, costs: KnownCosts) -> Outlook | None:
    """What the trials say of every candidate; `None` while that is too little.

    A trial whose loss is not known yet stands on the front with the loss that is expected of it: nobody proposes its
    neighbour.
    """
    known = [item for item in trials if item.loss is not None or item.failed]
    values = np.array([item.loss for item in known if item.loss is not None])
    if len(values) < MIN_RECORDS or not any(item.finished for item in known):
        return None
    floor = _floor(values)
    rows = np.array([item.row for item in known], dtype=np.intp)
    losses_M = np.array([values.max() if item.loss is None else item.loss for item in known])
    above_M = np.maximum(losses_M - floor, 1e-9)
    # The forecast's error on the logarithmic scale, to first order.
    noise_M = np.square(np.array([item.sd for item in known]) / above_M)
    pending = np.array([item.row for item in trials if item.loss is None and not item.failed], dtype=np.intp)
    logs_M = np.log(above_M)
    posterior = _posterior(candidates, rows, logs_M, noise_M, pending)
    scaled = _scaled(costs)
    believed = [np.array([item.row for item in known if item.finished], dtype=np.intp), pending]
    losses_F = np.concatenate([losses_M[[item.finished for item in known]], floor + np.exp(posterior.mean_N[pending])])
    gains_N = _gains(posterior, scaled, np.concatenate(believed), losses_F, floor=floor)
    middle_N = np.exp(posterior.mean_N + 0.5 * posterior.sd_N**2)
    return Outlook(floor + middle_N, middle_N * np.sqrt(np.expm1(posterior.sd_N**2)), gains_N)


def known_costs(candidates: Candidates, trials: Sequence[Evidence]) -> KnownCosts:
    """Costs as known in advance, else as measured, else predicted from those that were measured."""
    costs_NC = candidates.costs_NC.copy()
    log_sd_NC = np.zeros_like(costs_NC)
    for item in trials:
        if item.costs_C is not None:
            told = np.array(item.costs_C)
            costs_NC[item.row] = np.where(np.isfinite(told), told, costs_NC[item.row])
    for axis in range(costs_NC.shape[1]):
        missing_N = np.isnan(costs_NC[:, axis])
        if missing_N.any():
            predicted = predicted_cost(candidates, costs_NC[:, axis])
            costs_NC[missing_N, axis] = np.exp(predicted.mean_N[missing_N])
            log_sd_NC[missing_N, axis] = predicted.sd_N[missing_N]
    return KnownCosts(costs_NC, log_sd_NC)


def _posterior(
    candidates: Candidates, rows: Indices, logs_M: FloatArray, noise_M: FloatArray, pending: Indices
) -> Posterior:
    """The final losses' logarithms, `[N]`, as if the pending trials had come out as expected."""
    features_NF, groups_F = candidates.features_NF, candidates.groups_F
    kept = _most_telling(logs_M)
    rows, logs_M, noise_M = rows[kept], logs_M[kept], noise_M[kept]
    process = GaussianProcess(features_NF[rows], logs_M, noise_M=noise_M, groups_F=groups_F)
    if len(pending):
        expected = process.predict(features_NF[pending]).mean_N
        process = process.conditioned(features_NF[pending], expected)
    return process.predict(features_NF)


def _gains(
    posterior: Posterior, scaled: KnownCosts, rows_F: Indices, losses_F: FloatArray, *, floor: float
) -> FloatArray:
    costs_FC = scaled.costs_NC[rows_F]
    kept_F = moocore.is_nondominated(np.column_stack([losses_F, costs_FC]))
    front_losses_F, front_costs_FC = losses_F[kept_F], costs_FC[kept_F]
    spread = float(front_losses_F.max() - front_losses_F.min()) or float(losses_F.max() - losses_F.min())
    worst = float(front_losses_F.max()) + _MARGIN_FRAC * spread
    reference_O = np.concatenate([[worst], np.full(scaled.costs_NC.shape[1], 1.0 + _MARGIN_FRAC)])
    gains_N = np.zeros(len(posterior.mean_N))
    nodes = _COST_NODES if scaled.log_sd_NC.any() else ((0.0, 1.0),)
    for z, weight in nodes:
        gains_N += weight * hypervolume_improvement(
            lambda levels_L: lognormal_improvement(posterior.mean_N, posterior.sd_N, levels_L - floor),
            scaled.costs_NC + z * scaled.log_sd_NC,
            front_losses_F=front_losses_F,
            front_costs_FC=front_costs_FC,
            reference_O=reference_O,
        )
    return gains_N


def _scaled(costs: KnownCosts) -> KnownCosts:
    """Costs from 0 to 1; the error to first order."""
    least_C, most_C = costs.costs_NC.min(axis=0), costs.costs_NC.max(axis=0)
    spread_C = np.where(most_C > least_C, most_C - least_C, 1.0)
    return KnownCosts((costs.costs_NC - least_C) / spread_C, costs.log_sd_NC * costs.costs_NC / spread_C)


def _floor(losses: FloatArray) -> float:
    least, middle = float(losses.min()), float(np.median(losses))
    return least - max(_FLOOR_FRAC * (middle - least), 1e-6 * max(abs(least), 1e-6))


def _most_telling(logs_M: FloatArray) -> Indices:
    """At most `MAX_RECORDS` records in their order: the lower half of them by loss, and evenly of the rest."""
    if len(logs_M) <= MAX_RECORDS:
        return np.arange(len(logs_M), dtype=np.intp)
    order = np.argsort(logs_M, kind="stable")
    half = MAX_RECORDS // 2
    others = order[half:][np.linspace(0, len(order) - half - 1, half).round().astype(int)]
    return np.unique(np.concatenate([order[:half], others]))
