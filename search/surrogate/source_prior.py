"""How far a search believes other runs: a prior of its losses from the sources, weighed by the search's own trials.

The loss of a candidate is that of a source times a slope, plus a difference that the Gaussian process of the search
models. Which source and which slope is not known. So each is a hypothesis, and "none of them" is one too. Their
probabilities follow from how well they explain the trials of the search. The prior is the average over them, so a
source that predicts the trials worse than none loses its weight.

Axes: N candidates, K sources, M records, H hypotheses, F feature columns.

Sources: M. C. Kennedy and A. O'Hagan (2000), Predicting the output from a complex computer code when fast
approximations are available, Biometrika 87(1), for a process that is a multiple of another one plus a difference;
J. A. Hoeting, D. Madigan, A. E. Raftery and C. T. Volinsky (1999), Bayesian model averaging, Statistical Science 14(4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.candidates import FloatArray, Indices
from depthweave.search.surrogate.gaussian_process import FIT_RECORDS, evenly, prior_covariance
from depthweave.search.surrogate.loss_scale import LossScale

_SLOPES = (0.5, 1.0, 2.0)
"""How much a relative difference of losses at a source is at the search."""
_NONE_PROBABILITY = 0.5
"""Prior probability that no source helps."""
_DIFFERENCE_FRAC = 0.5
"""Prior standard deviation of the difference, as a share of that of the source's own predictions."""
_FACTORS = (0.25, 1.0, 4.0)
"""Equally likely factors of a hypothesis's variance."""
_LEAST_FRAC = 0.5
"""The standard deviation of the difference is at least this share of that without sources."""
_JITTER = 1e-6


class SourcePrior(NamedTuple):
    """The prior of every candidate's loss, on the logarithmic scale of the search."""

    offset_N: FloatArray
    """Prior means."""
    difference_sd: float
    """Prior standard deviation of the difference to them."""


class KnownLosses(NamedTuple):
    """The records of a search, final losses and forecasts."""

    rows_M: Indices
    """Their candidates."""
    logs_M: FloatArray
    """Logarithms of the heights above the floor."""
    noise_MM: FloatArray
    """Covariance of their errors; 0 for final losses."""
    spread_sd: float
    """Prior standard deviation of the losses of a search without sources."""


class _Hypothesis(NamedTuple):
    """The losses of the search follow these means, up to a constant, and differ from them with this variance."""

    offset_N: FloatArray
    variance: float


def source_prior(
    source_logs_NK: FloatArray, features_NF: FloatArray, known: KnownLosses, *, scale: LossScale, groups_F: Indices
) -> SourcePrior:
    """Returns the prior, given the search's own records."""
    spread = max(known.spread_sd, 1e-6) ** 2
    hypotheses = _hypotheses(source_logs_NK, known, scale=scale, spread=spread)
    few = evenly(len(known.rows_M), FIT_RECORDS)
    rows_M, logs_M, noise_MM = known.rows_M[few], known.logs_M[few], known.noise_MM[np.ix_(few, few)]
    covariance_MM = prior_covariance(features_NF[rows_M], groups_F=groups_F)
    # The covariance of forecasts' errors may be singular.
    noise_MM = noise_MM + _JITTER * (spread + float(np.diag(noise_MM).max())) * np.eye(len(rows_M))
    log_HV = np.array(
        [
            [
                _log_evidence(logs_M - item.offset_N[rows_M], factor * item.variance * covariance_MM + noise_MM)
                for factor in _FACTORS
            ]
            for item in hypotheses
        ]
    )
    log_HV[0] += np.log(_NONE_PROBABILITY)
    log_HV[1:] += np.log((1.0 - _NONE_PROBABILITY) / (len(hypotheses) - 1))
    probability_HV = np.exp(log_HV - log_HV.max())
    probability_HV /= probability_HV.sum()
    variance_HV = np.outer([item.variance for item in hypotheses], _FACTORS)
    # A few trials that a source explains well do not show that it explains all.
    variance_HV = np.clip(variance_HV, _LEAST_FRAC**2 * spread, spread)
    variance_HV[0] = spread
    return SourcePrior(
        probability_HV.sum(axis=1) @ np.stack([item.offset_N for item in hypotheses]),
        float(np.sqrt((probability_HV * variance_HV).sum())),
    )


def prior_alone(source_logs_NK: FloatArray, rows_M: Indices, losses_M: FloatArray) -> tuple[LossScale, SourcePrior]:
    """Returns a scale and the prior before the search has enough losses for a process: the sources' mean.

    Known final losses shift it.
    """
    logs_N = source_logs_NK.mean(axis=1)
    if len(rows_M):
        # An error of a tagger may be 0.
        logs_N = logs_N + float((np.log(np.maximum(losses_M, 1e-6)) - logs_N[rows_M]).mean())
    losses_N = np.exp(logs_N)
    losses_N[rows_M] = losses_M
    scale = LossScale.of(losses_N)
    offset_N = scale.logarithm(np.exp(logs_N))
    return scale, SourcePrior(offset_N, _DIFFERENCE_FRAC * float(offset_N.std()))


def _hypotheses(
    source_logs_NK: FloatArray, known: KnownLosses, *, scale: LossScale, spread: float
) -> list[_Hypothesis]:
    """Returns the hypotheses: none, then each source and the mean of several with each slope."""
    columns = list(source_logs_NK.T)
    if len(columns) > 1:
        columns.append(source_logs_NK.mean(axis=1))
    # Final losses set the level more than forecasts.
    weight_M = 1.0 / (spread + np.diag(known.noise_MM))
    weight_M = weight_M / weight_M.sum()
    log_losses_M = np.log(scale.losses(known.logs_M))
    found = [_Hypothesis(np.full(len(source_logs_NK), float(weight_M @ known.logs_M)), spread)]
    for column_N in columns:
        for slope in _SLOPES:
            logs_N = slope * column_N
            logs_N = logs_N + float(weight_M @ (log_losses_M - logs_N[known.rows_M]))
            offset_N = scale.logarithm(np.exp(logs_N))
            found.append(_Hypothesis(offset_N, max(_DIFFERENCE_FRAC**2 * float(offset_N.var()), 1e-6)))
    return found


def _log_evidence(residual_M: FloatArray, covariance_MM: FloatArray) -> float:
    """Returns the log marginal likelihood of normal residuals whose common mean is not known."""
    factor_MM = np.linalg.cholesky(covariance_MM)
    white_M2 = np.linalg.solve(factor_MM, np.column_stack([residual_M, np.ones(len(residual_M))]))
    residual_white_M, ones_white_M = white_M2.T
    square = float(ones_white_M @ ones_white_M)
    misfit = float(residual_white_M @ residual_white_M) - float(ones_white_M @ residual_white_M) ** 2 / square
    return -0.5 * misfit - float(np.log(np.diag(factor_MM)).sum()) - 0.5 * float(np.log(square))
