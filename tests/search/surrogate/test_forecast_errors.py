"""Correlated forecast errors: planted families of curves with a common error, and coverage by simulation."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from depthweave.search.samplers import Candidates, categorical
from depthweave.search.surrogate.candidates import FloatArray
from depthweave.search.surrogate.forecast_errors import MAX_BACKTESTS, CheckedForecasts, forecast_errors_of
from depthweave.search.surrogate.gaussian_process import GaussianProcess
from depthweave.search.surrogate.loss_model import Evidence
from depthweave.search.surrogate.loss_scale import Estimate
from depthweave.search.surrogate.posterior import candidate_posterior, known_costs

FAMILIES, SIZES = 4, 20
CHOICES = {
    "family": CategoricalDistribution(tuple(range(FAMILIES))),
    "size": CategoricalDistribution(tuple(range(SIZES))),
}
POINTS = [dict(zip(CHOICES, values, strict=True)) for values in product(range(FAMILIES), range(SIZES))]
SPREAD, COMMON_SD, OWN_SD = 0.08, 0.05, 0.02
"""Standard deviations of final losses, of the common error of a family, and of a curve's own error."""


def space() -> Candidates:
    """Candidates whose families are far apart and whose sizes within a family are close."""
    found = categorical(POINTS, distributions=CHOICES, costs_NC=np.ones((len(POINTS), 1)))
    size_N1 = np.array([[point["size"] / SIZES - 0.5] for point in POINTS])
    features_NF = np.concatenate([2.0 * found.features_NF[:, :FAMILIES], size_N1], axis=1)
    return replace(found, features_NF=features_NF, groups_F=np.array([0] * FAMILIES + [1]))


def some_search(seed: int) -> tuple[list[Evidence], FloatArray]:
    """A third of the trials is complete. The others have forecasts, shrunk to the population as by a regression."""
    rng = np.random.default_rng(seed)
    final_N = 2.0 + rng.normal(0.0, SPREAD, len(POINTS))
    late = rng.normal(0.0, COMMON_SD, FAMILIES)
    curve_N = final_N + late[[point["family"] for point in POINTS]] + rng.normal(0.0, OWN_SD, len(POINTS))
    error, spread = COMMON_SD**2 + OWN_SD**2, SPREAD**2
    mean_N = 2.0 + (curve_N - 2.0) * spread / (spread + error)
    forecast_sd = float(np.sqrt(spread * error / (spread + error)))
    trials = []
    for row in rng.permutation(len(POINTS)).tolist():
        forecast = Estimate(float(mean_N[row]), forecast_sd)
        if row % 3:
            trials.append(Evidence(row, forecast.mean, forecast.sd))
        else:
            trials.append(Evidence(row, float(final_N[row]), finished=True, earlier=(forecast,)))
    return trials, final_N


def scores(seeds: range) -> FloatArray:
    """The standardised errors of the expected final losses of unfinished trials."""
    found = []
    for seed in seeds:
        trials, final_N = some_search(seed)
        seen = candidate_posterior(space(), trials, costs=known_costs(space(), trials))
        assert seen is not None
        rows = [item.row for item in trials if not item.finished]
        sd = seen.sd_N[rows] * seen.calibration(np.array(rows))
        found.append((final_N[rows] - seen.mean_N[rows]) / sd)
    return np.concatenate(found)


def test_forecasts_are_calibrated_if_families_have_common_errors() -> None:
    found = scores(range(40))
    assert len(found) > 2000
    assert 0.8 < found.std() < 1.25
    assert abs(found.mean()) < 0.2
    # A normal distribution would have 4.6 and 0.3 %. Four families determine their variance poorly.
    assert (np.abs(found) > 2.0).mean() < 0.09
    assert (np.abs(found) > 3.0).mean() < 0.02


def test_the_same_forecasts_as_independent_observations_are_overconfident() -> None:
    # Each shrunk forecast counts as an independent observation with its own variance.
    found = []
    for seed in range(10):
        trials, final_N = some_search(seed)
        rows = np.array([item.row for item in trials])
        noise_MM = np.diag([item.sd**2 for item in trials])
        process = GaussianProcess(
            space().features_NF[rows],
            np.array([item.loss for item in trials], dtype=np.float64),
            noise_MM=noise_MM,
            groups_F=space().groups_F,
        )
        posterior = process.predict(space().features_NF)
        paused = [item.row for item in trials if not item.finished]
        found.append((final_N[paused] - posterior.mean_N[paused]) / posterior.sd_N[paused])
    assert np.concatenate(found).std() > 2.0


def test_finished_trials_shift_the_forecasts_of_their_family() -> None:
    features = space().features_NF
    rows = [0, 1, 2, SIZES, SIZES + 1, 2 * SIZES]
    # Two trials of the first family are complete, both 0.1 below their forecasts; none of the third family is.
    variance_M = np.array([0.0, 0.0, 0.01, 0.0, 0.01, 0.01])
    backtests = CheckedForecasts(np.array([0, 1, 3]), np.full(3, 0.01), np.array([0.1, 0.1, -0.1]))
    found = forecast_errors_of(features[rows], variance_M, backtests, groups_F=space().groups_F)
    assert found.mean_M[2] > 0.04
    assert found.mean_M[4] < -0.02
    assert abs(found.mean_M[5]) < found.mean_M[2] / 2
    assert found.mean_M[[0, 1, 3]] == pytest.approx(0.0)
    assert np.diag(found.covariance_MM)[2] < np.diag(found.covariance_MM)[5]


def test_variances_grow_with_the_errors_of_the_backtests() -> None:
    features = space().features_NF
    variance_M = np.r_[np.zeros(20), 0.01]
    wide = []
    for size in (0.1, 0.4):
        backtests = CheckedForecasts(np.arange(20), np.full(20, 0.01), size * np.random.default_rng(0).normal(size=20))
        wide.append(
            forecast_errors_of(features[:21], variance_M, backtests, groups_F=space().groups_F).covariance_MM[20, 20]
        )
    assert wide[1] > 6 * wide[0]


def test_covariance_is_positive_and_backtests_are_limited() -> None:
    rng = np.random.default_rng(1)
    num = 60
    backtests = CheckedForecasts(
        np.repeat(np.arange(num), 3), rng.uniform(0.01, 0.02, 3 * num), rng.normal(0.0, 0.1, 3 * num)
    )
    found = forecast_errors_of(
        space().features_NF[:num], rng.uniform(0.0, 0.01, num), backtests, groups_F=space().groups_F
    )
    assert len(found.residual_D) == MAX_BACKTESTS
    assert np.linalg.eigvalsh(found.covariance_MM).min() > -1e-9
    none = CheckedForecasts(np.zeros(0, dtype=np.intp), np.zeros(0), np.zeros(0))
    prior = forecast_errors_of(space().features_NF[:num], np.full(num, 0.01), none, groups_F=space().groups_F)
    assert prior.mean_M.tolist() == [0.0] * num
    assert np.diag(prior.covariance_MM) == pytest.approx(0.01)
