"""The model of costs: exact coefficients, calibrated errors, and spaces without cost features."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from depthweave.search.parameters import Parameters
from depthweave.search.samplers import categorical, of_space
from depthweave.search.surrogate.candidates import Candidates
from depthweave.search.surrogate.cost_model import _RIDGE, _nonnegative_coefficients, predicted_cost
from depthweave.search.surrogate.space_filling import space_filling_subset
from depthweave.spaces.space import Axes, enumerate_space

AXES = Axes(
    fusions=("none", "dwa", "dwatt", "concat"),
    dilations=(1, 2, 4),
    periods=(1, 2, 4, "depth"),
    depths=(6, 12),
    budgets=(150_000, 300_000),
    vocabulary=256,
    context=64,
    head_width=16,
)


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    return of_space(Parameters(enumerate_space(AXES)), objectives=("perplexity", "latency"))


@pytest.mark.parametrize("seed", range(20))
def test_coefficients_are_those_of_the_best_active_set(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows_MH = rng.normal(0.3, 1.0, size=(rng.integers(3, 9), 5))
    gram_HH, target_H = rows_MH.T @ rows_MH + _RIDGE * np.eye(5), rows_MH.sum(axis=0)
    best, lowest = np.zeros(5), 0.0
    for size in range(1, 6):
        for chosen in combinations(range(5), size):
            coefficients_H = np.zeros(5)
            coefficients_H[list(chosen)] = np.linalg.solve(gram_HH[np.ix_(chosen, chosen)], target_H[list(chosen)])
            value = 0.5 * coefficients_H @ gram_HH @ coefficients_H - target_H @ coefficients_H
            if (coefficients_H >= 0).all() and value < lowest:
                best, lowest = coefficients_H, value
    np.testing.assert_allclose(_nonnegative_coefficients(rows_MH), best, atol=1e-9)


def test_predicted_errors_cover_noisy_measurements_of_a_sum(candidates: Candidates) -> None:
    """With random coefficients, a dozen measurements with 3 % noise predict the others within it, calibrated."""
    rows = space_filling_subset(candidates, first=[], count=12)
    others = np.setdiff1d(np.arange(len(candidates.parameters)), rows)
    shares_NH = candidates.cost_features_NH / candidates.cost_features_NH.mean(axis=0)
    errors, z = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cost_N = (shares_NH @ rng.exponential(size=shares_NH.shape[1])) * np.exp(0.03 * rng.normal(size=len(shares_NH)))
        known_N = np.full(len(cost_N), np.nan)
        known_N[rows] = cost_N[rows]
        found = predicted_cost(candidates, known_N)
        away_N = np.log(cost_N) - found.mean_N
        errors.append(np.median(np.abs(away_N[others])))
        z.extend((away_N / found.sd_N)[others])
    assert np.median(errors) < 0.06
    assert 0.7 < np.std(z) < 1.2
    assert np.mean(np.abs(z) > 2) < 0.05
    assert np.mean(np.abs(z) > 3) < 0.01


@pytest.mark.parametrize("measured", [0, 1, 2, 3, 20])
def test_space_without_cost_features_has_finite_costs(measured: int, candidates: Candidates) -> None:
    bare = Candidates(
        distributions=candidates.distributions,
        parameters=candidates.parameters,
        features_NF=candidates.features_NF,
        groups_F=candidates.groups_F,
        costs_NC=candidates.costs_NC,
        cost_features_NH=np.ones((len(candidates.parameters), 0)),
    )
    cost_N = np.full(len(bare.parameters), np.nan)
    # One of them costs 0, which has no logarithm.
    cost_N[:measured] = np.arange(measured)
    found = predicted_cost(bare, cost_N)
    assert np.isfinite(found.mean_N).all()
    assert np.isfinite(found.sd_N).all()


def test_sum_over_choices_is_recovered() -> None:
    """Three parameters with the same four operations: 12 of 64 rows determine the cost of each operation."""
    operations = {"skip": 0.1, "pool": 0.5, "conv1": 1.0, "conv3": 4.0}
    points = [dict(zip("abc", values, strict=True)) for values in product(operations, repeat=3)]
    distributions = {name: CategoricalDistribution(tuple(operations)) for name in "abc"}
    cost_N = np.array([1.0 + sum(operations[value] for value in point.values()) for point in points])
    known = categorical(points, distributions=distributions, costs_NC=np.full((64, 1), np.nan))
    rows = space_filling_subset(known, first=[], count=12)
    measured_N = np.full(64, np.nan)
    measured_N[rows] = cost_N[rows]
    error_N = np.abs(np.exp(predicted_cost(known, measured_N).mean_N) / cost_N - 1.0)
    assert np.median(error_N) < 0.02
    assert error_N.max() < 0.1


def test_larger_space_filling_subset_extends_the_smaller_without_repeats(candidates: Candidates) -> None:
    whole = space_filling_subset(candidates, first=[5, 7, 5], count=1000)
    assert sorted(whole) == list(range(len(candidates.parameters)))
    assert whole[:2] == [5, 7]
    assert space_filling_subset(candidates, first=[5, 7], count=20) == whole[:20]
    # At most a third are given rows.
    assert space_filling_subset(candidates, first=list(range(100)), count=12)[:5] != list(range(5))
    assert space_filling_subset(candidates, first=[3], count=0) == []
