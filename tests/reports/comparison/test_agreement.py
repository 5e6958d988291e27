"""Rank correlation: what is known by hand, and what must not be claimed."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from depthweave.reports.analysis.rank_agreement import kendall_tau, tau_interval
from depthweave.reports.comparison.agreement import Unit, effects, order_of
from depthweave.spaces.wiring_rules import strided_rule
from tests.reports.comparing import EFFECTS, make_run


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        # Of six pairs five agree.
        ([1, 2, 3, 4], [1, 2, 4, 3], 4 / 6),
        # A tie in one of them: (5 - 0) / sqrt(6 * 5).
        ([1, 2, 3, 4], [1, 2, 2, 3], 5 / math.sqrt(30)),
    ],
)
def test_tau_is_the_one_counted_by_hand(first: list[float], second: list[float], tau: float) -> None:
    assert kendall_tau(np.array(first), np.array(second)) == pytest.approx(tau)


def test_tau_of_what_cannot_be_ordered_is_absent() -> None:
    assert kendall_tau(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])) is None
    assert kendall_tau(np.array([]), np.array([])) is None


def test_interval_of_unrelated_columns_seldom_excludes_zero_and_of_related_ones_does() -> None:
    draw = np.random.default_rng(1)
    false_alarms, found = 0, 0
    for _ in range(100):
        first = draw.normal(size=12)
        low, high = tau_interval(first, draw.normal(size=12)) or (0.0, 0.0)
        false_alarms += low > 0 or high < 0
        low, _ = tau_interval(first, first + draw.normal(scale=0.3, size=12)) or (0.0, 0.0)
        found += low > 0
    # Percentile intervals of a dozen are a little short: 5 % nominal.
    assert false_alarms <= 14
    assert found >= 95


def test_interval_is_the_same_each_time_and_absent_for_few() -> None:
    first, second = np.arange(8.0), np.array([1.0, 0, 2, 3, 5, 4, 7, 6])
    assert tau_interval(first, second) == tau_interval(first, second)
    assert tau_interval(first[:5], second[:5]) is None


def test_effects_are_ratios_to_plain_of_the_same_depth_and_budget() -> None:
    # The deep half is worse throughout: against plain of another depth every pattern would look bad there.
    records = make_run() + make_run(depth=12, loss=1.9, first_trial=20)
    told = effects(records, objective="perplexity", by=())
    assert told[Unit("none", None, None, None)] == 1.0
    assert told[Unit("dwa", strided_rule(1, 1), None, None)] == pytest.approx(math.exp(EFFECTS[0]))
    # A site after the last block is one pattern, whatever the depth.
    assert told[Unit("concat", strided_rule(1, "depth"), None, None)] == pytest.approx(math.exp(EFFECTS[5]))
    apart = effects(records, objective="perplexity", by=("depth", "budget"))
    assert len(apart) == 2 * (len(told) - 1) + 1


def test_pattern_without_its_plain_or_unfinished_has_no_effect() -> None:
    records = make_run()[1:]
    assert effects(records, objective="perplexity", by=()) == {}
    stopped = [dataclasses.replace(it, state="pruned", perplexity=None) for it in make_run()[1:]]
    assert effects([*make_run()[:1], *stopped], objective="perplexity", by=()) == {}


def test_same_effects_agree_on_other_corpora_and_sizes() -> None:
    other = make_run(depth=12, budget=600_000, loss=2.4, corpus_sha256="ff" * 32)
    found = order_of(make_run(), other, objective="perplexity")
    assert found.sameness == "a pattern at any size"
    assert len(found.matched) == len(EFFECTS) + 1
    assert found.tau == pytest.approx(1.0)
    assert found.verdict == "agree"
    assert found.matched[0].unit.name == "dwa 1×1"
    assert [item.first for item in found.matched] == sorted(item.first for item in found.matched)


def test_reversed_effects_are_opposed_and_few_are_not_settled() -> None:
    reverse = make_run([-effect for effect in EFFECTS])
    assert order_of(make_run(), reverse, objective="perplexity").verdict == "oppose"
    few = order_of(make_run(EFFECTS[:3]), make_run(EFFECTS[:3]), objective="perplexity")
    assert few.tau == pytest.approx(1.0)
    assert (few.low, few.verdict) == (None, "not settled")


def test_sizes_that_both_have_are_matched_one_by_one() -> None:
    first = make_run() + make_run(depth=12, first_trial=20)
    second = make_run(loss=1.7) + make_run(depth=12, loss=1.8, first_trial=20)
    found = order_of(first, second, objective="perplexity")
    assert found.sameness == "a pattern at one depth and budget"
    assert len(found.matched) == 2 * len(EFFECTS) + 1
    other_budget = order_of(
        first, make_run(budget=1) + make_run(depth=12, budget=1, first_trial=20), objective="latency"
    )
    assert other_budget.sameness == "a pattern at one depth"


@pytest.mark.parametrize("num", [6, 10])
def test_unrelated_orders_are_said_to_agree_or_to_be_opposed_within_nominal(num: int) -> None:
    rng = np.random.default_rng(num)
    draws = rng.standard_normal((2_000 if num == 6 else 600, num, 2))
    found = [tau_interval(values[:, 0], values[:, 1]) for values in draws]
    assert np.mean([ends is not None and (ends[0] > 0 or ends[1] < 0) for ends in found]) <= 0.05


@pytest.mark.parametrize("correlation", [0.6, 0.9])
def test_interval_of_tau_covers_where_ten_patterns_are_related(correlation: float) -> None:
    """With six and a strong relation it covers 88 % alone: the bootstrap has too few of them to draw from."""
    rng, truth = np.random.default_rng(1), 2 / math.pi * math.asin(correlation)
    covered = 0
    for first, other in rng.standard_normal((600, 2, 10)):
        ends = tau_interval(first, correlation * first + math.sqrt(1 - correlation**2) * other)
        covered += ends is not None and ends[0] <= truth <= ends[1]
    assert covered / 600 >= 0.93
