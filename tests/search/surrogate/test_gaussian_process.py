"""The Gaussian process: closed forms, gradients and length scales."""

from __future__ import annotations

import numpy as np
import pytest

from depthweave.search.surrogate import gaussian_process
from depthweave.search.surrogate.gaussian_process import (
    FIT_RECORDS,
    FloatArray,
    GaussianProcess,
    Hyperparameters,
    fit,
)

GROUPS_F = np.array([0, 0, 1, 2])


def some_records(num: int, *, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Features of three groups, and values that depend on the first two."""
    rng = np.random.default_rng(seed)
    features_MF = rng.normal(size=(num, len(GROUPS_F)))
    return features_MF, np.sin(2 * features_MF[:, 0]) + features_MF[:, 2] + 5.0


def kernel(left: FloatArray, right: FloatArray, known: Hyperparameters) -> float:
    """Matern 5/2 and the linear term, one pair at a time."""
    pairs = list(zip(left, right, GROUPS_F, strict=True))
    root = np.sqrt(5 * sum(known.weights_G[group] * (a - b) ** 2 for a, b, group in pairs))
    linear = known.linear * sum(a * b for a, b, _ in pairs) / 3
    return known.amplitude * float((1 + root + root**2 / 3) * np.exp(-root) + linear)


def test_prediction_equals_the_plain_formulas() -> None:
    features_MF, values_M = some_records(12)
    noise_M = np.linspace(0.0, 0.3, 12)
    process = GaussianProcess(features_MF, values_M, noise_MM=np.diag(noise_M), groups_F=GROUPS_F)
    known = process.hyperparameters
    mean, scale = values_M.mean(), values_M.std()
    K = np.array([[kernel(a, b, known) for b in features_MF] for a in features_MF])
    K += np.diag(known.noise + noise_M / scale**2 + 1e-6)
    at_NF = some_records(5, seed=1)[0]
    k = np.array([[kernel(a, b, known) for b in features_MF] for a in at_NF])
    found = process.predict(at_NF)
    np.testing.assert_allclose(
        found.mean_N, mean + scale * k @ np.linalg.solve(K, (values_M - mean) / scale), rtol=1e-6
    )
    prior = np.array([kernel(a, a, known) for a in at_NF])
    variance = prior - np.einsum("nm,nm->n", k, np.linalg.solve(K, k.T).T)
    np.testing.assert_allclose(found.sd_N, scale * np.sqrt(variance), rtol=1e-5)


def test_conditioning_on_expected_values_keeps_the_mean_and_reduces_the_variance() -> None:
    features_MF, values_M = some_records(10)
    process = GaussianProcess(features_MF, values_M, noise_MM=np.zeros((10, 10)), groups_F=GROUPS_F)
    at_NF = some_records(6, seed=2)[0]
    before = process.predict(at_NF)
    after = process.conditioned(at_NF[:2], before.mean_N[:2]).predict(at_NF)
    np.testing.assert_allclose(after.mean_N, before.mean_N, rtol=1e-6)
    assert (after.sd_N <= before.sd_N + 1e-9).all()
    assert (after.sd_N[:2] < 0.5 * before.sd_N[:2]).all()
    np.testing.assert_allclose(process.predict(at_NF).mean_N, before.mean_N, rtol=0)


def test_gradient_equals_finite_differences() -> None:
    features_MF, values_M = some_records(9)
    targets_M = (values_M - values_M.mean()) / values_M.std()
    distances_GMM = np.stack(
        [
            gaussian_process.squared_distances(columns, columns)
            for columns in (features_MF[:, :2], features_MF[:, 2:3], features_MF[:, 3:])
        ]
    )
    linear_MM = features_MF @ features_MF.T / 3
    logs, noise_MM = np.array([0.3, -0.5, -1.0, 0.2, -0.4, -2.0]), np.diag(np.linspace(0, 0.1, 9)) + 0.02
    found = gaussian_process._objective(logs, distances_GMM, linear_MM, targets_M, noise_MM)
    assert found is not None
    for place in range(len(logs)):
        step = np.zeros_like(logs)
        step[place] = 1e-5
        after = gaussian_process._objective(logs + step, distances_GMM, linear_MM, targets_M, noise_MM)
        before = gaussian_process._objective(logs - step, distances_GMM, linear_MM, targets_M, noise_MM)
        assert after is not None
        assert before is not None
        assert found.gradient[place] == pytest.approx((after.value - before.value) / 2e-5, rel=1e-5, abs=1e-7)


def test_irrelevant_features_get_long_length_scales() -> None:
    features_MF = some_records(80)[0]
    values_M = np.sin(2 * features_MF[:, 0]) + np.sin(2 * features_MF[:, 2])
    targets_M = (values_M - values_M.mean()) / values_M.std()
    found = fit(features_MF, targets_M, noise_MM=np.zeros((80, 80)), groups_F=GROUPS_F)
    assert found.weights_G[2] < 0.2 * min(found.weights_G[:2])
    assert found.noise < 0.05


def test_a_linear_effect_goes_on_beyond_the_records() -> None:
    features_MF = some_records(60)[0]
    values_M = -features_MF[:, 2] + 0.01 * np.random.default_rng(3).normal(size=60)
    process = GaussianProcess(features_MF, values_M, noise_MM=np.zeros((60, 60)), groups_F=GROUPS_F)
    far = process.predict(np.array([[0.0, 0.0, 2 * features_MF[:, 2].max(), 0.0]]))
    assert far.mean_N[0] < 1.5 * values_M.min()


def test_a_noisy_record_counts_less() -> None:
    features_MF = np.array([[0.0, 0, 0, 0], [1.0, 0, 0, 0], [2.0, 0, 0, 0], [1.0, 0, 0, 0]])
    values_M = np.array([0.0, 0.0, 1.0, 3.0])
    at_NF = features_MF[1:2]
    trusted = GaussianProcess(features_MF, values_M, noise_MM=np.zeros((4, 4)), groups_F=GROUPS_F).predict(at_NF)
    doubted = GaussianProcess(features_MF, values_M, noise_MM=np.diag([0, 0, 0, 25.0]), groups_F=GROUPS_F).predict(
        at_NF
    )
    assert doubted.mean_N[0] < 0.5 < trusted.mean_N[0]


def test_equal_values_and_many_records_are_handled() -> None:
    features_MF, values_M = some_records(3 * FIT_RECORDS)
    flat = GaussianProcess(features_MF[:5], np.full(5, 2.0), noise_MM=np.zeros((5, 5)), groups_F=GROUPS_F)
    np.testing.assert_allclose(flat.predict(features_MF).mean_N, 2.0)
    many = GaussianProcess(features_MF, values_M, noise_MM=np.zeros((len(values_M), len(values_M))), groups_F=GROUPS_F)
    at_NF, expected_N = some_records(50, seed=3)
    assert np.abs(many.predict(at_NF).mean_N - expected_N).mean() < 0.15


def correlated(num: int) -> FloatArray:
    """A covariance of correlated errors."""
    root = np.random.default_rng(5).normal(size=(num, 3))
    return np.asarray(0.1 * (root @ root.T) + np.diag(np.linspace(0.0, 0.2, num)))


def test_values_of_records_equal_the_plain_formulas() -> None:
    features_MF, values_M = some_records(8)
    population = gaussian_process.Population(5.5, 1.2)
    noise_MM = correlated(8)
    process = GaussianProcess(features_MF, values_M, noise_MM=noise_MM, groups_F=GROUPS_F, population=population)
    known = process.hyperparameters
    prior_MM = np.array([[kernel(a, b, known) for b in features_MF] for a in features_MF])
    prior_MM += (known.noise + 1e-6) * np.eye(8)
    observed_MM = prior_MM + noise_MM / population.sd**2
    targets_M = (values_M - population.mean) / population.sd
    found = process.values(np.arange(8))
    np.testing.assert_allclose(process.values(np.array([5, 2])).sd_N, found.sd_N[[5, 2]])
    expected_M = population.mean + population.sd * prior_MM @ np.linalg.solve(observed_MM, targets_M)
    np.testing.assert_allclose(found.mean_N, expected_M, rtol=1e-6)
    variance_M = np.diag(prior_MM - prior_MM @ np.linalg.solve(observed_MM, prior_MM))
    np.testing.assert_allclose(found.sd_N, population.sd * np.sqrt(variance_M), rtol=1e-5)


def test_record_without_error_has_its_own_value_and_no_variance() -> None:
    features_MF, values_M = some_records(8)
    found = GaussianProcess(features_MF, values_M, noise_MM=np.zeros((8, 8)), groups_F=GROUPS_F).values(np.arange(8))
    np.testing.assert_allclose(found.mean_N, values_M, rtol=1e-6)
    np.testing.assert_allclose(found.sd_N, 0.0, atol=1e-4)


def test_leave_one_out_residuals_equal_those_of_processes_without_the_record() -> None:
    features_MF, values_M = some_records(7)
    population, noise_MM = gaussian_process.Population(5.0, 1.0), correlated(7)
    process = GaussianProcess(features_MF, values_M, noise_MM=noise_MM, groups_F=GROUPS_F, population=population)
    known = process.hyperparameters
    K = np.array([[kernel(a, b, known) for b in features_MF] for a in features_MF])
    K += noise_MM + (known.noise + 1e-6) * np.eye(7)
    for place in range(7):
        rest = np.delete(np.arange(7), place)
        weights = np.linalg.solve(K[np.ix_(rest, rest)], K[rest, place])
        sd = np.sqrt(K[place, place] - weights @ K[rest, place])
        off = values_M[place] - 5.0 - weights @ (values_M[rest] - 5.0)
        assert process.leave_one_out_residuals()[place] == pytest.approx(off / sd, rel=1e-6)
