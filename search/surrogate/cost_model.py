"""What a cost comes to that only measuring tells: a sum of what the machine does, each part at a learned price.

Latency and memory are sums: so much for a floating-point operation, a block, a connection of each fusion. The prices
are not negative and are fitted to what was measured, in relative errors; a Gaussian process over the encoding, of fixed
hyperparameters, learns what the sum leaves over. So a dozen measurements tell a space that a free form needs fifty for.

Axes: N candidates, M measured ones, H hints.

Source: C. L. Lawson and R. J. Hanson (1974), Solving Least Squares Problems, chapter 23, for the prices.
"""

from __future__ import annotations

import numpy as np

from depthweave.search.surrogate.candidates import Candidates, FloatArray, Indices
from depthweave.search.surrogate.gaussian_process import GaussianProcess, Hyperparameters, Posterior

MIN_MEASURED = 3
"""Measured costs from which on there is a model."""
_MAX_MEASURED = 512
"""The latest so many teach the process: its time grows with their cube."""
_RIDGE = 1e-3
"""Of the prices, hints and cost having a mean of 1: what few measurements do not tell is shared out evenly."""
_PRIOR_SD = 0.05
"""Relative error that counts as one measurement more: with few of them the fit's own error says little."""
_PRICE_SD = 0.1
"""Of a price before anything is measured, in the same units."""
_LEAST_FRAC = 1e-3
"""Of the mean cost, the least that is predicted."""
_REST_NOISE = 0.2
"""Share of what the sum leaves over that no encoding explains; fitting it and the scales is no better, and slow."""
_FOLDS = 5
"""Parts that known costs are held out in, one after the other."""


def predicted_cost(candidates: Candidates, cost_N: FloatArray) -> Posterior:
    """The logarithm of a cost of every candidate; `cost_N` is NaN where it was not measured."""
    measured = np.flatnonzero(np.isfinite(cost_N))
    hints_NH = _with_mean_of_one(candidates.hints_NH)
    unit = (float(cost_N[measured].mean()) if len(measured) else 1.0) or 1.0
    if len(measured) < MIN_MEASURED:
        # In the order of the hints, until there is something to learn from.
        return Posterior(np.log(unit * hints_NH.mean(axis=1)), np.zeros(len(cost_N)))
    # A cost of nothing has no logarithm.
    costs_M = np.maximum(cost_N[measured] / unit, _LEAST_FRAC)
    relative_MH = hints_NH[measured] / costs_M[:, None]
    prices_H = _prices(relative_MH)
    sums_N = np.maximum(hints_NH @ prices_H, _LEAST_FRAC)
    rest_M = np.log(costs_M) - np.log(sums_N[measured])
    rest = _rest(candidates, measured[-_MAX_MEASURED:], rest_M[-_MAX_MEASURED:])
    free = len(measured) - int((prices_H > 0.0).sum())
    noise = (_PRIOR_SD**2 + float(np.square(rest_M).sum())) / (1 + max(1, free))
    sd_N = np.sqrt(noise + _doubt(hints_NH / sums_N[:, None], relative_MH, noise=noise))
    return Posterior(np.log(unit * sums_N) + rest.mean_N, sd_N)


def cost_error(candidates: Candidates, axis: int) -> float | None:
    """Median relative error of a cost's prediction for known candidates that were held out, a fifth of them at a time.

    `None` where too few are known to hold any out.
    """
    cost_N = candidates.costs_NC[:, axis]
    known = np.flatnonzero(np.isfinite(cost_N))
    if len(known) < 2 * MIN_MEASURED:
        return None
    errors = []
    for fold in range(_FOLDS):
        held = known[fold::_FOLDS]
        rest_N = cost_N.copy()
        rest_N[held] = np.nan
        predicted = predicted_cost(candidates, rest_N)
        errors.append(np.abs(np.exp(predicted.mean_N[held]) / cost_N[held] - 1.0))
    return float(np.median(np.concatenate(errors)))


def _with_mean_of_one(hints_NH: FloatArray) -> FloatArray:
    """The hints and a constant, of which every cost has some."""
    means_H = hints_NH.mean(axis=0)
    return np.column_stack([np.ones(len(hints_NH)), hints_NH / np.where(means_H > 0.0, means_H, 1.0)])


def _prices(relative_MH: FloatArray) -> FloatArray:
    """The prices `[H]`, none negative, at which the rows come nearest to 1, by Lawson and Hanson's active set."""
    gram_HH = relative_MH.T @ relative_MH + _RIDGE * np.eye(relative_MH.shape[1])
    target_H = relative_MH.sum(axis=0)
    prices_H, active_H = np.zeros(len(target_H)), np.zeros(len(target_H), dtype=np.bool_)
    # In theory it ends by itself, and after a few more steps than there are hints; rounding must not make it circle.
    for _ in range(3 * len(target_H)):
        slope_H = np.where(active_H, -np.inf, target_H - gram_HH @ prices_H)
        if slope_H.max() <= 1e-9 * target_H.max():
            break
        active_H[int(np.argmax(slope_H))] = True
        while True:
            wanted_H = np.zeros(len(target_H))
            wanted_H[active_H] = np.linalg.solve(gram_HH[np.ix_(active_H, active_H)], target_H[active_H])
            below_H = active_H & (wanted_H <= 0.0)
            if not below_H.any():
                break
            # As far on the way as none is negative; who is at zero then leaves.
            way = float((prices_H[below_H] / (prices_H[below_H] - wanted_H[below_H])).min())
            prices_H = np.maximum(prices_H + way * (wanted_H - prices_H), 0.0)
            active_H &= prices_H > 1e-15
        prices_H = wanted_H
    return prices_H


def _doubt(relative_NH: FloatArray, relative_MH: FloatArray, *, noise: float) -> FloatArray:
    """The variance `[N]` that comes of the prices: large where a row spends on what no measured one spends on."""
    precision_HH = relative_MH.T @ relative_MH / noise + np.eye(relative_MH.shape[1]) / _PRICE_SD**2
    return np.asarray(np.einsum("nh,nh->n", relative_NH, np.linalg.solve(precision_HH, relative_NH.T).T))


def _rest(candidates: Candidates, rows_M: Indices, rest_M: FloatArray) -> Posterior:
    num_groups = int(candidates.groups_F.max()) + 1
    process = GaussianProcess(
        candidates.features_NF[rows_M],
        rest_M,
        noise_MM=np.zeros((len(rows_M), len(rows_M))),
        groups_F=candidates.groups_F,
        hyperparameters=Hyperparameters(np.full(num_groups, 1.0 / num_groups), amplitude=1.0, noise=_REST_NOISE),
    )
    return process.predict(candidates.features_NF)
