"""Correlated errors of learning-curve forecasts: a Gaussian process over architectures and rungs.

Forecasts of similar architectures have similar errors: if the losses of a fusion fall late, the forecast from the first
rung is too high in every trial. So the forecasts of ten such trials are not ten independent observations. The error of
a forecast is the sum of all deviations from its rung to the end. So the errors at two rungs share the variance of the
later one; a share of that variance is a Gaussian process over the architectures, the rest is the trial's own.

Backtests calibrate the model: the errors of earlier forecasts are known for trials that continued. They determine the
common share and one factor of all variances, and correct the forecasts of similar architectures.

Axes: P points (a trial at a rung), M records (a trial at its last rung), D backtests (differences between two rungs of
a trial), A and B sets of architectures, F feature columns.

Source: M. C. Kennedy and A. O'Hagan (2000), Predicting the output from a complex computer code when fast
approximations are available, Biometrika 87(1): an autoregressive process over levels of fidelity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.candidates import FloatArray, Indices
from depthweave.search.surrogate.gaussian_process import matern, squared_distances

SHARES = (0.1, 0.4, 0.7, 0.95)
"""Candidate values for the common share of the error variance. The most probable one is used."""
_PRIOR_BACKTESTS = 8.0
"""Weight of the prior, in which the variances are as forecast, in backtests."""
_INVERSE_SQUARED_SCALE = 2.0
"""Inverse squared length scale of every group of features, times the number of groups."""
MAX_BACKTESTS = 96
"""Maximum number of backtests that the model is fitted to, evenly chosen."""
_JITTER = 1e-6


class ForecastErrors(NamedTuple):
    """The distribution of the errors of the records' forecasts, given the backtests."""

    mean_M: FloatArray
    covariance_MM: FloatArray
    record_D: Indices
    """The record of each backtest that was used."""
    residual_D: FloatArray
    """Standardised leave-one-out residual of each of these backtests."""


class CheckedForecasts(NamedTuple):
    """Backtests: forecasts of trials from earlier rungs, with their known errors."""

    record_D: Indices
    """The trial's record."""
    variance_D: FloatArray
    """Variance of the earlier forecast."""
    difference_D: FloatArray
    """The earlier forecast minus the later one, or minus the final loss."""


def forecast_errors_of(
    features_MF: FloatArray, variance_M: FloatArray, backtests: CheckedForecasts, *, groups_F: Indices
) -> ForecastErrors:
    """Returns the errors of the records' forecasts; their variance is 0 for a complete trial."""
    if len(backtests.record_D) > MAX_BACKTESTS:
        few = np.linspace(0, len(backtests.record_D) - 1, MAX_BACKTESTS).round().astype(np.intp)
        backtests = CheckedForecasts(backtests.record_D[few], backtests.variance_D[few], backtests.difference_D[few])
    num_records, num_backtests = len(variance_M), len(backtests.record_D)
    if not num_backtests and not variance_M.any():
        return ForecastErrors(
            np.zeros(num_records), np.zeros((num_records, num_records)), backtests.record_D, np.zeros(0)
        )
    record_P = np.concatenate([np.arange(num_records), backtests.record_D])
    own_PP, common_PP = _covariances(features_MF, variance_M, backtests, record_P, groups_F=groups_F)
    # A backtest is the difference of two points: the earlier rung minus the record.
    earlier = np.arange(num_records, num_records + num_backtests)
    own_DD, common_DD = (_differences(item, earlier, backtests.record_D) for item in (own_PP, common_PP))
    share, factor = _fitted(own_DD, common_DD, backtests.difference_D)
    covariance_PP = factor * ((1.0 - share) * own_PP + share * common_PP)
    prior_MM = covariance_PP[:num_records, :num_records]
    if not num_backtests:
        return ForecastErrors(np.zeros(num_records), prior_MM, backtests.record_D, np.zeros(0))
    cross_MD = covariance_PP[:num_records, earlier] - covariance_PP[:num_records, backtests.record_D]
    covariance_DD = factor * ((1.0 - share) * own_DD + share * common_DD)
    covariance_DD += _JITTER * max(float(np.diag(covariance_DD).mean()), 1e-12) * np.eye(num_backtests)
    inverse_DD = np.linalg.inv(covariance_DD)
    gain_MD = cross_MD @ inverse_DD
    covariance_MM = prior_MM - gain_MD @ cross_MD.T
    residual_D = inverse_DD @ backtests.difference_D / np.sqrt(np.diag(inverse_DD))
    return ForecastErrors(
        gain_MD @ backtests.difference_D, 0.5 * (covariance_MM + covariance_MM.T), backtests.record_D, residual_D
    )


def _covariances(
    features_MF: FloatArray,
    variance_M: FloatArray,
    backtests: CheckedForecasts,
    record_P: Indices,
    *,
    groups_F: Indices,
) -> tuple[FloatArray, FloatArray]:
    """Returns the covariances of the points' errors if all variance were the trial's own, and if all were common."""
    variance_P = np.concatenate([variance_M, backtests.variance_D])
    least_PP = np.minimum(variance_P[:, None], variance_P[None, :])
    features_PF = features_MF[record_P]
    same_PP = record_P[:, None] == record_P[None, :]
    return np.where(same_PP, least_PP, 0.0), least_PP * similarity(features_PF, features_PF, groups_F=groups_F)


def similarity(left_AF: FloatArray, right_BF: FloatArray, *, groups_F: Indices) -> FloatArray:
    """Returns the prior correlation of architectures, `[A, B]`, 1 for equal ones; it does not depend on losses."""
    scale = np.sqrt(_INVERSE_SQUARED_SCALE / (int(groups_F.max()) + 1))
    return matern(squared_distances(left_AF * scale, right_BF * scale))


def _differences(covariance_PP: FloatArray, earlier: Indices, record_D: Indices) -> FloatArray:
    """Returns the covariance, `[D, D]`, of the differences between two sets of points."""
    rows_DP = covariance_PP[earlier] - covariance_PP[record_D]
    return np.asarray(rows_DP[:, earlier] - rows_DP[:, record_D])


def _fitted(own_DD: FloatArray, common_DD: FloatArray, difference_D: FloatArray) -> tuple[float, float]:
    """Returns the most probable common share and factor of all variances."""
    if not len(difference_D):
        return 0.5, 1.0
    candidates = []
    jitter = _JITTER * max(float(np.diag(own_DD).mean()), 1e-12)
    for share in SHARES:
        factor_DD = np.linalg.cholesky((1.0 - share) * own_DD + share * common_DD + jitter * np.eye(len(own_DD)))
        squares = float(np.square(np.linalg.solve(factor_DD, difference_D)).sum())
        degrees_of_freedom = _PRIOR_BACKTESTS + len(difference_D)
        # The log marginal likelihood; the factor, with an inverse gamma prior around 1, is integrated out.
        value = -float(np.log(np.diag(factor_DD)).sum()) - 0.5 * degrees_of_freedom * np.log(_PRIOR_BACKTESTS + squares)
        candidates.append((value, share, (_PRIOR_BACKTESTS + squares) / degrees_of_freedom))
    _, share, factor = max(candidates)
    # Variances are not reduced: most backtests are of early rungs and say little about late ones.
    return share, max(factor, 1.0)
