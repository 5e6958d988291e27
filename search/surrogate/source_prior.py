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
from depthweave.search.surrogate.gaussian_process import prior_covariance
from depthweave.search.surrogate.loss_scale import LossScale

_SLOPES = (0.5, 1.0, 2.0)
"""How much a relative difference of losses at a source is at the search."""
_NONE_PROBABILITY = 0.5
"""Prior probability that no source helps."""
_DIFFERENCE_FRAC = 0.5
"""Prior standard deviation of the difference, as a share of that of the source's own predictions."""
_PRIOR_RECORDS = 4.0
"""Weight of the prior variances, in records."""


class SourcePrior(NamedTuple):
    """The prior of every candidate's loss, on the logarithmic scale of the search."""

    offset_N: FloatArray
    """Prior means, up to a constant."""
    difference_sd: float
    """Prior standard deviation of what the sources do not explain."""
    trust_K: FloatArray
    """Probability that the search's losses follow this source, 0 to 1."""


class KnownLosses(NamedTuple):
    """The records of a search, final losses and forecasts."""

    rows_M: Indices
    """Their candidates."""
    logs_M: FloatArray
    """Logarithms of the heights above the floor."""
    variance_M: FloatArray
    """Variances of these; 0 for a final loss."""


def source_prior(
    source_logs_NK: FloatArray, features_NF: FloatArray, known: KnownLosses, *, scale: LossScale, groups_F: Indices
) -> SourcePrior:
    """Returns the prior, given the search's own records."""
    log_losses_M = np.log(scale.floor + np.exp(known.logs_M))
    offsets_HN = _offsets(source_logs_NK, known.rows_M, log_losses_M, scale=scale)
    variance = float(known.logs_M.var() + known.variance_M.mean()) or 1.0
    noise_MM = np.diag(known.variance_M / variance)
    factor_MM = np.linalg.cholesky(prior_covariance(features_NF[known.rows_M], groups_F=groups_F) + noise_MM)
    misfit_H = _misfits(known.logs_M - offsets_HN[:, known.rows_M], factor_MM) / variance
    # The log marginal likelihood; mean and variance of the difference are integrated out.
    log_H = -0.5 * (_PRIOR_RECORDS + len(known.rows_M) - 1) * np.log(_PRIOR_RECORDS + misfit_H)
    log_H += np.log([_NONE_PROBABILITY, *np.full(len(log_H) - 1, (1 - _NONE_PROBABILITY) / max(1, len(log_H) - 1))])
    probability_H = np.exp(log_H - log_H.max())
    probability_H /= probability_H.sum()
    offset_N = probability_H @ offsets_HN
    residual_M = known.logs_M - offset_N[known.rows_M]
    prior_H = np.square(_DIFFERENCE_FRAC) * offsets_HN.var(axis=1)
    prior_H[0] = variance
    squares = len(residual_M) * float(residual_M.var() + known.variance_M.mean())
    difference = (_PRIOR_RECORDS * float(probability_H @ prior_H) + squares) / (_PRIOR_RECORDS + len(residual_M))
    return SourcePrior(offset_N, float(np.sqrt(difference)), _trust(probability_H, source_logs_NK.shape[1]))


def prior_alone(
    source_logs_NK: FloatArray, known_rows: Indices, known_losses: FloatArray
) -> tuple[LossScale, SourcePrior]:
    """Returns a scale and the prior before the search has enough losses for a process: the sources' mean.

    Known final losses shift it.
    """
    logs_N = source_logs_NK.mean(axis=1)
    if len(known_rows):
        logs_N = logs_N + float((np.log(known_losses) - logs_N[known_rows]).mean())
    losses_N = np.exp(logs_N)
    losses_N[known_rows] = known_losses
    scale = LossScale.of(losses_N)
    offset_N = scale.logarithm(np.exp(logs_N))
    trust_K = np.full(source_logs_NK.shape[1], (1 - _NONE_PROBABILITY) / source_logs_NK.shape[1])
    return scale, SourcePrior(offset_N, _DIFFERENCE_FRAC * float(offset_N.std()), trust_K)


def _offsets(source_logs_NK: FloatArray, rows_M: Indices, log_losses_M: FloatArray, *, scale: LossScale) -> FloatArray:
    """Returns the prior mean of each hypothesis, `[H, N]`: none, then each source and their mean with each slope."""
    columns = list(source_logs_NK.T)
    if len(columns) > 1:
        columns.append(source_logs_NK.mean(axis=1))
    found = [np.zeros(len(source_logs_NK))]
    for column_N in columns:
        for slope in _SLOPES:
            logs_N = slope * column_N
            # On the level of the search's own losses.
            found.append(scale.logarithm(np.exp(logs_N + float((log_losses_M - logs_N[rows_M]).mean()))))
    return np.stack(found)


def _misfits(residual_HM: FloatArray, factor_MM: FloatArray) -> FloatArray:
    """Returns the squared standardised residuals, `[H]`, without their common mean."""
    white_MH = np.linalg.solve(factor_MM, residual_HM.T)
    ones_M = np.linalg.solve(factor_MM, np.ones(len(factor_MM)))
    white_MH -= np.outer(ones_M, ones_M @ white_MH) / (ones_M @ ones_M)
    return np.asarray(np.square(white_MH).sum(axis=0))


def _trust(probability_H: FloatArray, num_sources: int) -> FloatArray:
    """Returns the probability of each source; that of their mean is shared."""
    by_column = probability_H[1:].reshape(-1, len(_SLOPES)).sum(axis=1)
    shared = by_column[num_sources:].sum() / num_sources
    return np.asarray(by_column[:num_sources] + shared)
