"""Lines over sizes: against closed forms, and how often intervals and verdicts are right over draws from a known truth.

The noises are measured ones, as in `test_coverage.py`.

Axes: N draws, S seeds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from depthweave.reports.analysis.contrast import NONE, Contrast, Variance, paired_contrast, weighted_contrast
from depthweave.reports.analysis.size_trend import (
    REACH,
    SizePoint,
    SizeTrend,
    SizeVerdict,
    judge,
    judge_signs,
    slope_weights,
    trend_of,
)

NUM_DRAWS = 4_000
QUIET, MIDDLE, NOISY = 0.0012, 0.0065, 0.0156
"""Standard deviations of a difference over seeds."""
UNEQUAL = [(MIDDLE, MIDDLE), (QUIET, NOISY), (NOISY, QUIET), (NOISY, MIDDLE, QUIET), (QUIET, MIDDLE, NOISY)]
WRONG = 0.025 + 3 * math.sqrt(0.025 * 0.975 / NUM_DRAWS)
"""Most wrong claims on one side: nominal, and three standard errors of the draws."""


def _point(doublings: float, differences: Sequence[float], *, num_diverged: int = 0) -> SizePoint:
    found = paired_contrast(np.array(differences))
    return SizePoint(round(2**doublings * 1e6), float(found.mean), found, NONE, num_diverged)


def _five(mean: float, spread: float = 0.001) -> list[float]:
    return [mean + spread * step for step in (-2, -1, 0, 1, 2)]


def _drawn(
    noises: Sequence[float], *, start: float, slope: float, num_seeds: int = 5, text: float = 0.0, bend: float = 0.0
) -> SizeTrend:
    """Trends `[N]` of sizes one doubling apart; the text's error is one that all sizes share."""
    rng = np.random.default_rng(0)
    shared_N = text * rng.standard_normal(NUM_DRAWS)
    points = []
    for doublings, noise in enumerate(noises):
        truth = start + slope * doublings + bend * doublings**2
        differences_NS = truth + shared_N[:, None] + noise * rng.standard_normal((NUM_DRAWS, num_seeds))
        own = Variance(np.full(NUM_DRAWS, text**2), np.array(math.inf))
        points.append(SizePoint(2**doublings * 10**6, 0.0, paired_contrast(differences_NS, text=own), own))
    trend = trend_of(points)
    assert trend is not None
    return trend


def _covers(found: Contrast, truth: float) -> float:
    """Share of the 95 % intervals that hold the truth."""
    below = found._replace(mean=found.mean - truth).below
    return float(np.mean((below > 0.025) & (below < 0.975)))


def _shares(trend: SizeTrend) -> dict[SizeVerdict, float]:
    """Share of each verdict over the draws."""
    signs = trend.signs
    drawn = [type(signs)(*(values[place] for values in signs)) for place in range(NUM_DRAWS)]
    counts = Counter(judge_signs(it).verdict for it in drawn)
    return {verdict: number / NUM_DRAWS for verdict, number in counts.items()}


def test_line_of_equal_seeds_is_least_squares() -> None:
    means = (-0.03, -0.024, -0.020, -0.019)
    trend = trend_of([_point(place, _five(mean)) for place, mean in enumerate(means)])
    assert trend is not None
    slope, at_zero = np.polyfit(range(4), means, 1)
    assert float(trend.slope.mean) == pytest.approx(slope)
    assert float(trend.beyond.mean) == pytest.approx(at_zero + slope * (3 + math.log2(REACH)))
    assert trend.curvature is not None
    assert float(trend.curvature.mean) == pytest.approx(np.polyfit(range(4), means, 2)[0])
    assert float(trend.largest.mean) == pytest.approx(means[-1])


def test_size_with_more_seeds_weighs_more() -> None:
    x_K, weights_K, values_K = np.array([0.0, 1.0, 2.0]), np.array([8.0, 5.0, 5.0]), np.array([-0.03, -0.01, -0.02])
    expected = np.polyfit(x_K, values_K, 1, w=np.sqrt(weights_K))[0]
    assert slope_weights(x_K, weights_K=weights_K) @ values_K == pytest.approx(expected)


def test_sum_has_the_variances_of_its_parts_and_the_larger_of_two_for_the_text() -> None:
    first, second = paired_contrast(np.array([0.1, 0.2, 0.4])), paired_contrast(np.array([0.0, 0.3, 0.1, 0.2]))
    texts = [Variance(np.array(0.01), np.array(math.inf)), Variance(np.array(0.04), np.array(math.inf))]
    difference = weighted_contrast([first, second], texts=texts, weights=[1.0, -1.0])
    total = weighted_contrast([first, second], texts=texts, weights=[1.0, 1.0])
    seeds = float(first.seeds.value + second.seeds.value)
    assert float(difference.mean) == pytest.approx(float(first.mean) - float(second.mean))
    assert float(difference.seeds.value) == pytest.approx(seeds)
    # Independent errors of the text add up in a difference, shared ones in a sum.
    assert float(difference.whole.value) == pytest.approx(seeds + 0.01 + 0.04)
    assert float(total.whole.value) == pytest.approx(seeds + (0.1 + 0.2) ** 2)
    # Welch's degrees of freedom.
    parts = float(first.seeds.value) ** 2 / 2 + float(second.seeds.value) ** 2 / 3
    assert float(difference.seeds.degrees) == pytest.approx(seeds**2 / parts)


@pytest.mark.parametrize("noises", UNEQUAL)
def test_intervals_cover_with_unequal_noises(noises: tuple[float, ...]) -> None:
    trend, last = _drawn(noises, start=-0.03, slope=0.004), len(noises) - 1
    assert 0.93 <= _covers(trend.slope, 0.004) <= 0.97
    assert 0.93 <= _covers(trend.largest, -0.03 + 0.004 * last) <= 0.97
    assert 0.93 <= _covers(trend.beyond, -0.03 + 0.004 * (last + 2)) <= 0.97
    if trend.curvature is not None:
        assert 0.93 <= _covers(trend.curvature, 0.0) <= 0.97


def test_weights_by_estimated_variance_would_not_cover() -> None:
    """Why the weights are numbers of seeds: five seeds show a variance that is too small by chance too often."""
    rng, noises = np.random.default_rng(1), (NOISY, MIDDLE, QUIET)
    differences = [paired_contrast(noise * rng.standard_normal((NUM_DRAWS, 5))) for noise in noises]
    weights_NK = np.stack([1 / it.seeds.value for it in differences], axis=1)
    x_NK = np.arange(3.0) - (weights_NK * np.arange(3.0)).sum(axis=1, keepdims=True) / weights_NK.sum(
        axis=1, keepdims=True
    )
    factors_NK = weights_NK * x_NK / (weights_NK * x_NK**2).sum(axis=1, keepdims=True)
    # The weights differ between draws, so each size's contrast is scaled by its own.
    scaled = [
        Contrast(5, it.mean * own, *(Variance(part.value * own**2, part.degrees) for part in (it.seeds, it.whole)))
        for it, own in zip(differences, factors_NK.T, strict=True)
    ]
    assert _covers(weighted_contrast(scaled, texts=[NONE] * 3, weights=[1.0] * 3), 0.0) < 0.92


def test_interval_covers_all_text_and_not_only_what_was_read() -> None:
    trend = _drawn((QUIET, QUIET), start=-0.03, slope=0.0, text=0.003)
    assert 0.93 <= _covers(trend.largest, -0.03) <= 0.97
    assert _covers(trend.beyond, -0.03) >= 0.93
    assert _covers(trend.slope, 0.0) >= 0.93


@pytest.mark.parametrize("noises", UNEQUAL)
def test_wrong_claims_are_as_rare_as_stated(noises: tuple[float, ...]) -> None:
    last = len(noises) - 1
    # The gain is gone exactly at four times the largest size: it carries over to less than that.
    gone = _shares(_drawn(noises, start=-0.01, slope=0.01 / (last + 2)))
    assert gone.get("carries over", 0.0) <= WRONG
    constant = _shares(_drawn(noises, start=-0.03, slope=0.0))
    assert constant.get("fades", 0.0) <= WRONG
    equal = _shares(_drawn(noises, start=0.0, slope=0.0))
    assert equal.get("worse", 0.0) <= WRONG
    assert equal.get("carries over", 0.0) <= WRONG
    assert equal.get("fades", 0.0) <= WRONG


def test_true_trends_are_found() -> None:
    assert _shares(_drawn((QUIET, QUIET), start=-0.02, slope=0.0))["carries over"] > 0.9
    assert _shares(_drawn((QUIET, QUIET), start=-0.02, slope=0.01))["fades"] > 0.9
    assert _shares(_drawn((QUIET, QUIET), start=0.01, slope=0.0))["worse"] > 0.9
    # Two sizes and more noise: the line at four times the largest is too uncertain.
    assert _shares(_drawn((MIDDLE, MIDDLE), start=-0.02, slope=0.0)).get("carries over", 0.0) < 0.9


def test_bend_is_no_line() -> None:
    bent = _drawn((QUIET, QUIET, QUIET), start=-0.03, slope=-0.01, bend=0.008)
    assert "carries over" not in _shares(bent)


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ((-0.03, -0.03), "carries over"),
        ((-0.01, -0.03), "carries over"),
        ((0.01, -0.02), "carries over"),
        ((-0.03, -0.02), "fades"),
        ((-0.03, 0.0), "fades"),
        ((-0.03, 0.02), "worse"),
        ((0.03, 0.01), "worse"),
        ((0.0, 0.0), "not settled"),
        ((0.02, 0.0), "not settled"),
    ],
)
def test_rule_on_quiet_sizes(means: tuple[float, float], verdict: str) -> None:
    points = [_point(place, _five(mean)) for place, mean in enumerate(means)]
    assert judge(points, trend_of(points)).verdict == verdict


def test_nothing_is_settled_without_enough_seeds_or_with_a_diverged_one() -> None:
    good = _point(0, _five(-0.03))
    few = _point(1, [-0.03, -0.031])
    assert judge([good, few], trend_of([good, few])) == ("not settled", "fewer than 5 fresh seeds at a size")
    alone = SizePoint(2_000_000, -0.03)
    assert trend_of([good, alone]) is None
    assert judge([good, alone], None).why == "fewer than 5 fresh seeds at a size"
    diverged = _point(1, _five(-0.03), num_diverged=1)
    assert judge([good, diverged], trend_of([good, diverged])) == ("not settled", "a seed diverged")
