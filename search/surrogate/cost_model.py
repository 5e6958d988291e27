"""Predicts costs that have to be measured, such as latency and memory, from a few measured candidates.

Such a cost is modelled as a weighted sum of cost features (operations, blocks, connections of each fusion), fitted by
nonnegative least squares of relative errors. A Gaussian process over the encoding, with fixed hyperparameters, models
the residuals. So a dozen measurements suffice for a space that needs fifty without the sum.

Axes: N candidates, M measured ones, H cost features.

Source: C. L. Lawson and R. J. Hanson (1974), Solving Least Squares Problems, chapter 23, for the coefficients.
"""

from __future__ import annotations

import numpy as np

from depthweave.search.surrogate.candidates import Candidates, FloatArray, Indices
from depthweave.search.surrogate.gaussian_process import GaussianProcess, Hyperparameters, Posterior

MIN_MEASURED = 3
"""Minimum number of measured costs for a model."""
_MAX_MEASURED = 512
"""Maximum number of measured costs that the process is fitted to, the latest: the time is cubic in it."""
_RIDGE = 1e-3
"""Ridge penalty, for features and costs with a mean of 1: undetermined coefficients become equal."""
_PRIOR_SD = 0.05
"""Prior relative error, with the weight of one measurement: few residuals say little about the error."""
_COEFFICIENT_SD = 0.1
"""Prior standard deviation of a coefficient, in the same units."""
_MIN_COST_FRAC = 1e-3
"""The lowest predicted cost, as a share of the mean cost."""
_RESIDUAL_NOISE = 0.2
"""Noise share of the residuals. Fitting it and the length scales is slow, and no better."""
_FOLDS = 5
"""Folds of the cross-validation of known costs."""


def predicted_cost(candidates: Candidates, cost_N: FloatArray) -> Posterior:
    """Returns the posterior of the logarithm of every candidate's cost; `cost_N` is NaN where it was not measured."""
    measured = np.flatnonzero(np.isfinite(cost_N))
    cost_features_NH = _with_mean_of_one(candidates.cost_features_NH)
    unit = (float(cost_N[measured].mean()) if len(measured) else 1.0) or 1.0
    if len(measured) < MIN_MEASURED:
        # Too few to fit: the mean of the features.
        return Posterior(np.log(unit * cost_features_NH.mean(axis=1)), np.zeros(len(cost_N)))
    # A cost of 0 has no logarithm.
    costs_M = np.maximum(cost_N[measured] / unit, _MIN_COST_FRAC)
    relative_MH = cost_features_NH[measured] / costs_M[:, None]
    coefficients_H = _nonnegative_coefficients(relative_MH)
    sums_N = np.maximum(cost_features_NH @ coefficients_H, _MIN_COST_FRAC)
    residual_M = np.log(costs_M) - np.log(sums_N[measured])
    residual = _residuals(candidates, measured[-_MAX_MEASURED:], residual_M[-_MAX_MEASURED:])
    degrees_of_freedom = len(measured) - int((coefficients_H > 0.0).sum())
    noise = (_PRIOR_SD**2 + float(np.square(residual_M).sum())) / (1 + max(1, degrees_of_freedom))
    sd_N = np.sqrt(noise + _coefficient_variance(cost_features_NH / sums_N[:, None], relative_MH, noise=noise))
    return Posterior(np.log(unit * sums_N) + residual.mean_N, sd_N)


def cost_error(candidates: Candidates, axis: int) -> float | None:
    """Returns the median relative error of a cost's predictions for known candidates, by cross-validation.

    `None` if too few are known.
    """
    cost_N = candidates.costs_NC[:, axis]
    known = np.flatnonzero(np.isfinite(cost_N))
    if len(known) < 2 * MIN_MEASURED:
        return None
    errors = []
    for fold in range(_FOLDS):
        held_out = known[fold::_FOLDS]
        training_N = cost_N.copy()
        training_N[held_out] = np.nan
        predicted = predicted_cost(candidates, training_N)
        errors.append(np.abs(np.exp(predicted.mean_N[held_out]) / cost_N[held_out] - 1.0))
    return float(np.median(np.concatenate(errors)))


def _with_mean_of_one(cost_features_NH: FloatArray) -> FloatArray:
    """Returns a constant, which every cost contains, and the features, scaled to a mean of 1."""
    means_H = cost_features_NH.mean(axis=0)
    return np.column_stack([np.ones(len(cost_features_NH)), cost_features_NH / np.where(means_H > 0.0, means_H, 1.0)])


def _nonnegative_coefficients(relative_MH: FloatArray) -> FloatArray:
    """Returns the nonnegative least-squares solution `[H]` of rows that sum to 1, by Lawson and Hanson's method."""
    gram_HH = relative_MH.T @ relative_MH + _RIDGE * np.eye(relative_MH.shape[1])
    target_H = relative_MH.sum(axis=0)
    coefficients_H, active_H = np.zeros(len(target_H)), np.zeros(len(target_H), dtype=np.bool_)
    # The method terminates after a few more steps than there are features. The bound prevents cycles by rounding.
    for _ in range(3 * len(target_H)):
        slope_H = np.where(active_H, -np.inf, target_H - gram_HH @ coefficients_H)
        if slope_H.max() <= 1e-9 * target_H.max():
            break
        active_H[int(np.argmax(slope_H))] = True
        while True:
            solution_H = np.zeros(len(target_H))
            solution_H[active_H] = np.linalg.solve(gram_HH[np.ix_(active_H, active_H)], target_H[active_H])
            negative_H = active_H & (solution_H <= 0.0)
            if not negative_H.any():
                break
            # A step towards the solution until a coefficient reaches 0, which leaves the active set.
            step = float((coefficients_H[negative_H] / (coefficients_H[negative_H] - solution_H[negative_H])).min())
            coefficients_H = np.maximum(coefficients_H + step * (solution_H - coefficients_H), 0.0)
            active_H &= coefficients_H > 1e-15
        coefficients_H = solution_H
    return coefficients_H


def _coefficient_variance(relative_NH: FloatArray, relative_MH: FloatArray, *, noise: float) -> FloatArray:
    """Returns the variance `[N]` due to the coefficients: large where no measured candidate has the features."""
    precision_HH = relative_MH.T @ relative_MH / noise + np.eye(relative_MH.shape[1]) / _COEFFICIENT_SD**2
    return np.asarray(np.einsum("nh,nh->n", relative_NH, np.linalg.solve(precision_HH, relative_NH.T).T))


def _residuals(candidates: Candidates, rows_M: Indices, residual_M: FloatArray) -> Posterior:
    """Returns the posterior of every candidate's residual."""
    num_groups = int(candidates.groups_F.max()) + 1
    # The features explain what is linear already.
    prior = Hyperparameters(np.full(num_groups, 1.0 / num_groups), amplitude=1.0, linear=0.0, noise=_RESIDUAL_NOISE)
    process = GaussianProcess(
        candidates.features_NF[rows_M],
        residual_M,
        noise_MM=np.zeros((len(rows_M), len(rows_M))),
        groups_F=candidates.groups_F,
        hyperparameters=prior,
    )
    return process.predict(candidates.features_NF)
