"""The posterior of every candidate given the trials: its final loss, its costs and its expected improvement.

The model of the loss is in `loss_model.py`, that of costs that have to be measured in `cost_model.py`.

Axes: N candidates, F front members, C costs, L levels of loss, O objectives, the loss first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import moocore
import numpy as np

from depthweave.search.surrogate.candidates import Candidates, FloatArray, Indices
from depthweave.search.surrogate.cost_model import predicted_cost
from depthweave.search.surrogate.gaussian_process import Posterior
from depthweave.search.surrogate.hypervolume_improvement import hypervolume_improvement, lognormal_improvement
from depthweave.search.surrogate.loss_model import Evidence, loss_posterior

_MARGIN_FRAC = 0.1
"""Distance of the reference point beyond the worst values, as a share of their range."""
_COST_NODES = ((-np.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (np.sqrt(3.0), 1 / 6))
"""Gauss-Hermite nodes and weights, for the expectation over an unknown cost."""


class CandidatePosterior(NamedTuple):
    """What is expected of every candidate."""

    mean_N: FloatArray
    """Expectation of the final loss."""
    sd_N: FloatArray
    gains_N: FloatArray
    """Expected hypervolume improvement, with costs scaled to the range from 0 to 1."""
    calibration: Callable[[Indices], FloatArray]
    """Returns the factors, at least 1, by which the standard deviations of these candidates have to be multiplied."""
    is_prior: bool
    """Whether it rests on other runs alone."""


class KnownCosts(NamedTuple):
    """The costs of all candidates, exact or predicted."""

    costs_NC: FloatArray
    log_sd_NC: FloatArray
    """Standard deviation of the logarithm of a predicted cost; 0 for a known or measured one."""


def candidate_posterior(
    candidates: Candidates, trials: Sequence[Evidence], *, costs: KnownCosts
) -> CandidatePosterior | None:
    """Returns the posterior of every candidate; `None` with too few losses.

    A trial with an unknown loss counts for the front with its expected loss, so that its neighbours are not proposed.
    """
    loss = loss_posterior(candidates, trials)
    if loss is None:
        return None
    pending = np.array([item.row for item in trials if item.loss is None and not item.failed], dtype=np.intp)
    finished = [item for item in trials if item.finished]
    losses_F = np.array([item.loss for item in finished], dtype=np.float64)
    scaled = _scaled(costs)
    rows_F = np.concatenate([np.array([item.row for item in finished], dtype=np.intp), pending])
    losses_F = np.concatenate([losses_F, loss.floor + np.exp(loss.function.mean_N[pending])])
    # A few trials do not span the objectives yet: the reference point is that of the front to expect.
    expected = (np.arange(len(loss.function.mean_N)), loss.floor + np.exp(loss.function.mean_N))
    worst = _worst_loss(scaled, *(expected if loss.is_prior else (rows_F, losses_F)))
    gains_N = _gains(loss.function, scaled, rows_F, losses_F, floor=loss.floor, worst=worst)
    # The mean and the standard deviation of a lognormal distribution.
    log_mean_N, log_sd_N = loss.outcome
    height_N = np.exp(log_mean_N + 0.5 * log_sd_N**2)
    sd_N = height_N * np.sqrt(np.expm1(log_sd_N**2))
    return CandidatePosterior(loss.floor + height_N, sd_N, gains_N, loss.calibration, loss.is_prior)


def known_costs(candidates: Candidates, trials: Sequence[Evidence]) -> KnownCosts:
    """Returns the costs of all candidates: measured, known in advance or predicted from measured ones."""
    costs_NC = candidates.costs_NC.copy()
    log_sd_NC = np.zeros_like(costs_NC)
    for item in trials:
        if item.costs_C is not None:
            measured_C = np.array(item.costs_C)
            costs_NC[item.row] = np.where(np.isfinite(measured_C), measured_C, costs_NC[item.row])
    for axis in range(costs_NC.shape[1]):
        missing_N = np.isnan(costs_NC[:, axis])
        if missing_N.any():
            predicted = predicted_cost(candidates, costs_NC[:, axis])
            costs_NC[missing_N, axis] = np.exp(predicted.mean_N[missing_N])
            log_sd_NC[missing_N, axis] = predicted.sd_N[missing_N]
    return KnownCosts(costs_NC, log_sd_NC)


def _worst_loss(scaled: KnownCosts, rows_F: Indices, losses_F: FloatArray) -> float:
    """Returns the loss of the reference point, beyond the front of these candidates with these losses."""
    kept_F = moocore.is_nondominated(np.column_stack([losses_F, scaled.costs_NC[rows_F]]))
    front_F = losses_F[kept_F]
    spread = float(front_F.max() - front_F.min()) or float(losses_F.max() - losses_F.min())
    return float(front_F.max()) + _MARGIN_FRAC * spread


def _gains(
    posterior: Posterior, scaled: KnownCosts, rows_F: Indices, losses_F: FloatArray, *, floor: float, worst: float
) -> FloatArray:
    """Returns the expected hypervolume improvements over the front of some candidates with these losses."""
    costs_FC = scaled.costs_NC[rows_F]
    if len(rows_F):
        kept_F = moocore.is_nondominated(np.column_stack([losses_F, costs_FC]))
        losses_F, costs_FC = losses_F[kept_F], costs_FC[kept_F]
    reference_O = np.concatenate([[worst], np.full(scaled.costs_NC.shape[1], 1.0 + _MARGIN_FRAC)])
    gains_N = np.zeros(len(posterior.mean_N))
    nodes = _COST_NODES if scaled.log_sd_NC.any() else ((0.0, 1.0),)
    for z, weight in nodes:
        gains_N += weight * hypervolume_improvement(
            lambda levels_L: lognormal_improvement(posterior.mean_N, posterior.sd_N, levels_L - floor),
            scaled.costs_NC + z * scaled.log_sd_NC,
            front_losses_F=losses_F,
            front_costs_FC=costs_FC,
            reference_O=reference_O,
        )
    return gains_N


def _scaled(costs: KnownCosts) -> KnownCosts:
    """Returns the costs scaled to 0 to 1, their standard deviations by linear error propagation."""
    lowest_C, highest_C = costs.costs_NC.min(axis=0), costs.costs_NC.max(axis=0)
    spread_C = np.where(highest_C > lowest_C, highest_C - lowest_C, 1.0)
    return KnownCosts((costs.costs_NC - lowest_C) / spread_C, costs.log_sd_NC * costs.costs_NC / spread_C)
