"""What the trials so far say of every candidate: what its final loss may be, its costs, and what it promises.

The loss is learned by `losses.py`; costs that only a trial can tell are learned here from those that were measured.

Axes: N candidates, T trials, M records, C costs, H hints.
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
"""How far the reference point lies beyond the worst, as a share of best to worst."""
_COST_NODES = ((-np.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (np.sqrt(3.0), 1 / 6))
"""Gauss-Hermite nodes and weights: an expectation over a cost that is not known yet."""


class CandidatePosterior(NamedTuple):
    """What is expected of every candidate."""

    mean_N: FloatArray
    """Of the final loss."""
    sd_N: FloatArray
    gains_N: FloatArray
    """Expected hypervolume improvement, costs scaled to the range that they span."""
    widening: Callable[[Indices], FloatArray]
    """By what factor the standard deviations of some candidates are too narrow, at least 1."""


class KnownCosts(NamedTuple):
    """The costs of all candidates, exact or predicted."""

    costs_NC: FloatArray
    log_sd_NC: FloatArray
    """Of the logarithm of what is predicted; 0 where known or measured."""


def candidate_posterior(
    candidates: Candidates, trials: Sequence[Evidence], *, costs: KnownCosts
) -> CandidatePosterior | None:
    """What the trials say of every candidate; `None` while that is too little.

    A trial whose loss is not known yet stands on the front with the loss that is expected of it: nobody proposes its
    neighbour.
    """
    found = loss_posterior(candidates, trials)
    if found is None:
        return None
    pending = np.array([item.row for item in trials if item.loss is None and not item.failed], dtype=np.intp)
    finished = [item for item in trials if item.finished]
    losses_F = np.array([item.loss for item in finished], dtype=np.float64)
    gains_N = _gains(
        found.function,
        _scaled(costs),
        np.concatenate([np.array([item.row for item in finished], dtype=np.intp), pending]),
        np.concatenate([losses_F, found.floor + np.exp(found.function.mean_N[pending])]),
        floor=found.floor,
    )
    mean_N, sd_N = found.outcome
    middle_N = np.exp(mean_N + 0.5 * sd_N**2)
    return CandidatePosterior(found.floor + middle_N, middle_N * np.sqrt(np.expm1(sd_N**2)), gains_N, found.widening)


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
