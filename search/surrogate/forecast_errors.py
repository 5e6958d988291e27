"""The errors that forecasts have in common: one process over architectures and rungs.

What a curve says of its end is wrong in the same way for architectures that are alike: a fusion that falls late is
forecast too high from the first rung in every trial. So the forecasts of ten such trials are no ten observations. The
error of a forecast is the sum of what happens from its rung to the end, and is modelled as that: errors at two rungs
share the variance of the later one, and a share `common` of it is a Gaussian process over the architectures.

Whoever went on tests the model: the forecasts that were made of it at earlier rungs are off by known amounts. They say
how large the share is, widen or narrow all errors by one factor, and shift the forecasts of those that are alike.

Axes: P points (a trial at a rung), M records (a trial at its last rung), D differences between two rungs of a trial.

Source: M. C. Kennedy and A. O'Hagan (2000), Predicting the output from a complex computer code when fast
approximations are available, Biometrika 87(1): an autoregressive process over levels of fidelity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.candidates import FloatArray, Indices
from depthweave.search.surrogate.gaussian_process import matern, squared_distances

SHARES = (0.1, 0.4, 0.7, 0.95)
"""Of the error's variance that architectures have in common: the candidates for it."""
_PRIOR_TESTS = 8.0
"""How many tests' worth of belief there is in the forecasts' own variances."""
_CLOSER = 2.0
"""Inverse squared length scale of every group of features, over the number of groups."""
MAX_TESTS = 96
"""Differences of which the model is learned; of more, an even choice."""
_JITTER = 1e-6


class ForecastErrors(NamedTuple):
    """Of the records' forecasts, given how earlier ones fared."""

    mean_M: FloatArray
    covariance_MM: FloatArray
    record_D: Indices
    """Of the tests that were looked at."""
    left_out_D: FloatArray
    """How far each of them lies from what the others expect of it, in standard deviations."""


class CheckedForecasts(NamedTuple):
    """Forecasts that were put to the test, each of a trial that went on, at an earlier rung."""

    record_D: Indices
    """The trial's record."""
    variance_D: FloatArray
    """Of the earlier forecast's error before it was tested."""
    difference_D: FloatArray
    """The earlier forecast less the later one, or less the final loss."""


def forecast_errors_of(
    features_MF: FloatArray, variance_M: FloatArray, tests: CheckedForecasts, *, groups_F: Indices
) -> ForecastErrors:
    """How far the records' forecasts are off; variance 0 for a trial that trained to its end."""
    if len(tests.record_D) > MAX_TESTS:
        few = np.linspace(0, len(tests.record_D) - 1, MAX_TESTS).round().astype(np.intp)
        tests = CheckedForecasts(tests.record_D[few], tests.variance_D[few], tests.difference_D[few])
    num_records, num_tests = len(variance_M), len(tests.record_D)
    if not num_tests and not variance_M.any():
        return ForecastErrors(np.zeros(num_records), np.zeros((num_records, num_records)), tests.record_D, np.zeros(0))
    record_P = np.concatenate([np.arange(num_records), tests.record_D])
    own_PP, common_PP = _covariances(features_MF, variance_M, tests, record_P, groups_F=groups_F)
    # A difference is one point less another: that of the earlier rung less the record itself.
    earlier = np.arange(num_records, num_records + num_tests)
    own_DD, common_DD = (_differences(found, earlier, tests.record_D) for found in (own_PP, common_PP))
    share, factor = _fitted(own_DD, common_DD, tests.difference_D)
    covariance_PP = factor * ((1.0 - share) * own_PP + share * common_PP)
    prior_MM = covariance_PP[:num_records, :num_records]
    if not num_tests:
        return ForecastErrors(np.zeros(num_records), prior_MM, tests.record_D, np.zeros(0))
    cross_MD = covariance_PP[:num_records, earlier] - covariance_PP[:num_records, tests.record_D]
    tested_DD = factor * ((1.0 - share) * own_DD + share * common_DD)
    tested_DD += _JITTER * max(float(np.diag(tested_DD).mean()), 1e-12) * np.eye(num_tests)
    inverse_DD = np.linalg.inv(tested_DD)
    gain_MD = cross_MD @ inverse_DD
    covariance_MM = prior_MM - gain_MD @ cross_MD.T
    left_out_D = inverse_DD @ tests.difference_D / np.sqrt(np.diag(inverse_DD))
    return ForecastErrors(
        gain_MD @ tests.difference_D, 0.5 * (covariance_MM + covariance_MM.T), tests.record_D, left_out_D
    )


def _covariances(
    features_MF: FloatArray, variance_M: FloatArray, tests: CheckedForecasts, record_P: Indices, *, groups_F: Indices
) -> tuple[FloatArray, FloatArray]:
    """Of the points' errors: were all of it the trial's own, and were all of it common."""
    variance_P = np.concatenate([variance_M, tests.variance_D])
    least_PP = np.minimum(variance_P[:, None], variance_P[None, :])
    features_PF = features_MF[record_P]
    same_PP = record_P[:, None] == record_P[None, :]
    return np.where(same_PP, least_PP, 0.0), least_PP * alike(features_PF, features_PF, groups_F=groups_F)


def alike(left_AF: FloatArray, right_BF: FloatArray, *, groups_F: Indices) -> FloatArray:
    """How alike architectures are taken to be, `[A, B]`, 1 for the same: before any losses are looked at."""
    scale = np.sqrt(_CLOSER / (int(groups_F.max()) + 1))
    return matern(squared_distances(left_AF * scale, right_BF * scale))


def _differences(covariance_PP: FloatArray, earlier: Indices, record_D: Indices) -> FloatArray:
    """The covariance, `[D, D]`, of one set of points less another."""
    found = covariance_PP[earlier] - covariance_PP[record_D]
    return np.asarray(found[:, earlier] - found[:, record_D])


def _fitted(own_DD: FloatArray, common_DD: FloatArray, difference_D: FloatArray) -> tuple[float, float]:
    """The common share and the factor of all variances that are most probable."""
    if not len(difference_D):
        return 0.5, 1.0
    found = []
    tiny = _JITTER * max(float(np.diag(own_DD).mean()), 1e-12)
    for share in SHARES:
        factor_DD = np.linalg.cholesky((1.0 - share) * own_DD + share * common_DD + tiny * np.eye(len(own_DD)))
        squares = float(np.square(np.linalg.solve(factor_DD, difference_D)).sum())
        freedom = _PRIOR_TESTS + len(difference_D)
        # The factor integrated out, with an inverse gamma distribution about 1 before there are tests.
        value = -float(np.log(np.diag(factor_DD)).sum()) - 0.5 * freedom * np.log(_PRIOR_TESTS + squares)
        found.append((value, share, (_PRIOR_TESTS + squares) / freedom))
    _, share, factor = max(found)
    # Narrower they do not become: early rungs are many, and would speak for the late ones.
    return share, max(factor, 1.0)
