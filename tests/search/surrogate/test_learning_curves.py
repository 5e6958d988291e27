"""Extrapolated learning curves: against simulations of the model, under selection, and for other curves."""

from __future__ import annotations

import numpy as np
import pytest

from depthweave.search.surrogate.learning_curves import (
    Array,
    RungRegression,
    fit_regressions,
    forecast_final,
    geometric_rungs,
)

_EVALUATIONS = (1, 2, 4, 8, 16)


def power_laws(num: int, *, seed: int, noise: float = 0.01) -> Array:
    """Curves `a + b t^-c` with noise, `[num, 5]`."""
    generator = np.random.default_rng(seed)
    a, b = generator.normal(4.0, 0.3, num), generator.uniform(0.5, 1.5, num)
    c = generator.uniform(0.3, 0.7, num)
    clean = a[:, None] + b[:, None] * np.array(_EVALUATIONS)[None] ** -c[:, None]
    return np.asarray(clean + noise * generator.normal(size=clean.shape))


def truncated(losses_TR: Array, *, after: int) -> Array:
    """The same curves up to a rung."""
    early_TR = losses_TR.copy()
    early_TR[:, after:] = np.nan
    return early_TR


def test_forecast_is_mean_and_standard_deviation_of_the_sampled_chain() -> None:
    fitted = fit_regressions(power_laws(60, seed=0), evaluations=_EVALUATIONS)
    regressions = [link._replace(covariance_PP=np.zeros_like(link.covariance_PP), variance=1e-4) for link in fitted]
    start = truncated(power_laws(1, seed=1), after=2)
    forecast = forecast_final(regressions, start)
    ends = sampled_ends(regressions, start[0, :2], num=20_000)
    # Four standard errors. The sampled noise scales with each sampled drop, the forecast's with the mean: 1e-4 apart.
    assert forecast.mean_T[0] == pytest.approx(ends.mean(), abs=4 * ends.std() / np.sqrt(len(ends)))
    assert forecast.sd_T[0] == pytest.approx(ends.std(), rel=0.03)


def sampled_ends(regressions: list[RungRegression], losses: Array, *, num: int) -> Array:
    generator = np.random.default_rng(0)
    ends = []
    for _ in range(num):
        loss, last, before = float(losses[1]), float(losses[0] - losses[1]), 0.0
        for link in regressions[1:]:
            predictors = np.array([1.0, loss - link.level, last, before])[: len(link.coefficients_P)]
            noise = np.sqrt(link.variance) * (abs(last) + 0.1 * link.unit)
            drop = float(predictors @ link.coefficients_P + noise * generator.normal())
            loss, last, before = loss - drop, drop, last
        ends.append(loss)
    return np.array(ends)


def test_forecast_of_a_complete_curve_is_its_final_loss() -> None:
    curves = power_laws(10, seed=0)
    forecast = forecast_final(fit_regressions(curves, evaluations=_EVALUATIONS), curves)
    np.testing.assert_array_equal(forecast.mean_T, curves[:, -1])
    assert not forecast.sd_T.any()


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_intervals_cover_unseen_curves(after: int) -> None:
    regressions = fit_regressions(power_laws(40, seed=0), evaluations=_EVALUATIONS)
    unseen = power_laws(2000, seed=1)
    forecast = forecast_final(regressions, truncated(unseen, after=after))
    inside = np.abs(unseen[:, -1] - forecast.mean_T) < 2.132 * forecast.sd_T
    # Nominal 90 % of Student t with four degrees of freedom, which probabilities use. Wider intervals are safe.
    assert 0.88 < inside.mean() <= 1.0


def test_standard_deviation_for_regular_curves_is_near_that_of_their_noise() -> None:
    unseen = power_laws(2000, seed=1)
    forecast = forecast_final(
        fit_regressions(power_laws(80, seed=0), evaluations=_EVALUATIONS), truncated(unseen, after=4)
    )
    error = unseen[:, -1] - forecast.mean_T
    # The prior standard deviation is seven times as large.
    assert 0.8 < float(np.median(forecast.sd_T)) / error.std() < 1.6


def test_standard_deviation_decreases_from_rung_to_rung() -> None:
    curves = power_laws(40, seed=0)
    regressions = fit_regressions(curves, evaluations=_EVALUATIONS)
    spreads = [forecast_final(regressions, truncated(curves, after=after)).sd_T.mean() for after in (1, 2, 3, 4)]
    assert spreads == sorted(spreads, reverse=True)


def test_forecast_is_unbiased_if_only_the_better_half_continues() -> None:
    """The mean forecast of the stopped curves is near their mean final loss, that of the continued ones is not."""
    shown = power_laws(400, seed=2)
    whole = shown.copy()
    for rung in range(len(_EVALUATIONS) - 1):
        there = ~np.isnan(shown[:, rung])
        shown[shown[:, rung] > np.median(shown[there, rung]), rung + 1 :] = np.nan
    left = np.isnan(shown[:, 1])
    forecast = forecast_final(fit_regressions(shown, evaluations=_EVALUATIONS), shown[left])
    error = float((forecast.mean_T - whole[left, -1]).mean())
    survivors = shown[~np.isnan(shown[:, -1])]
    naive = float((shown[left, 0] + (survivors[:, -1] - survivors[:, 0]).mean() - whole[left, -1]).mean())
    assert abs(error) < 0.1
    assert abs(error) < abs(naive) / 2


def test_one_outlying_curve_changes_little() -> None:
    curves = power_laws(40, seed=0)
    wild = np.vstack([curves, [[5.0, 5.2, 24.0, 9.0, 20.0]]])
    early = truncated(power_laws(50, seed=3), after=3)
    without = forecast_final(fit_regressions(curves, evaluations=_EVALUATIONS), early)
    beside = forecast_final(fit_regressions(wild, evaluations=_EVALUATIONS), early)
    assert np.abs(beside.mean_T - without.mean_T).max() < without.sd_T.mean()


def test_prior_forecast_continues_the_last_drop_with_a_standard_deviation_of_its_size() -> None:
    first = np.array([[5.0, 4.8, np.nan, np.nan]])
    forecast = forecast_final(fit_regressions(first, evaluations=(1, 2, 4, 8)), first)
    # Each doubling drops by as much as the last one: twice 0.2.
    assert forecast.mean_T[0] == pytest.approx(4.4)
    assert forecast.sd_T[0] > 0.2


def test_equal_curves_are_handled() -> None:
    flat = np.full((5, 5), 2.0)
    forecast = forecast_final(fit_regressions(flat, evaluations=_EVALUATIONS), truncated(flat, after=2))
    np.testing.assert_allclose(forecast.mean_T, 2.0, atol=1e-5)


def test_order_of_the_trials_changes_nothing() -> None:
    curves = power_laws(30, seed=0)
    early = truncated(curves, after=2)
    forward = forecast_final(fit_regressions(curves, evaluations=_EVALUATIONS), early)
    backward = forecast_final(fit_regressions(curves[::-1], evaluations=_EVALUATIONS), early)
    np.testing.assert_allclose(forward.mean_T, backward.mean_T, rtol=1e-9)


@pytest.mark.parametrize(
    ("num", "grace", "factor", "rungs"),
    [
        (50, 1, 2.0, (1, 2, 4, 8, 16, 32)),
        (10, 1, 2.0, (1, 2, 4, 8)),
        (10, 3, 1.5, (3, 4, 6, 9)),
        (5, 1, 1.1, (1, 2, 3, 4)),
        (1, 1, 2.0, ()),
        (4, 4, 2.0, ()),
    ],
)
def test_geometric_rungs(num: int, grace: int, factor: float, rungs: tuple[int, ...]) -> None:
    assert geometric_rungs(num, grace=grace, factor=factor) == rungs
