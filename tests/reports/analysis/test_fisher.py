"""Fisher's exact test and the corrections, against values by hand and by simulation."""

from __future__ import annotations

import random

import pytest

from depthweave.reports.analysis.fisher import fisher_exact, holm, least_p_value, tarone


@pytest.mark.parametrize(("found", "ways"), [(0, 2), (1, 34), (2, 70), (3, 34), (4, 2)])
def test_fisher_on_eight_cups_of_tea(found: int, ways: int) -> None:
    # Of 70 draws 1, 16, 36, 16 and 1 have 0 to 4 marked cups.
    assert fisher_exact(8, marked=4, drawn=4, found=found) == pytest.approx(ways / 70)


@pytest.mark.parametrize(("found", "ways"), [(0, 42), (1, 210), (2, 105), (3, 7)])
def test_fisher_of_unequal_margins_adds_both_tails(found: int, ways: int) -> None:
    # Of 210 draws 35, 105, 63 and 7 have 0 to 3 marked items.
    assert fisher_exact(10, marked=3, drawn=4, found=found) == pytest.approx(ways / 210)


def test_fisher_without_a_choice_is_one() -> None:
    assert fisher_exact(5, marked=5, drawn=2, found=2) == 1.0
    assert fisher_exact(5, marked=2, drawn=0, found=0) == 1.0


@pytest.mark.parametrize(("marked", "drawn", "found"), [(3, 4, 4), (9, 4, 2), (11, 4, 2), (3, -1, 0)])
def test_fisher_of_impossible_counts_is_refused(marked: int, drawn: int, found: int) -> None:
    with pytest.raises(ValueError, match="no draw has these"):
        fisher_exact(10, marked=marked, drawn=drawn, found=found)


def test_least_p_value_is_that_of_the_rarer_end() -> None:
    assert least_p_value(10, marked=3, drawn=4) == pytest.approx(7 / 210)
    assert least_p_value(10, marked=10, drawn=4) == 1.0


def test_holm_by_hand() -> None:
    # 0.005 × 4, 0.01 × 3, 0.03 × 2, and 0.04 no less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_tarone_keeps_the_tests_that_could_pass() -> None:
    # Three could pass at 0.05, and two at half of that.
    assert tarone([0.5, 0.02, 0.001, 0.03], risk=0.05) == [1, 2]
    assert tarone([0.5, 0.1], risk=0.05) == []
    assert tarone([], risk=0.05) == []


def test_members_by_chance_pass_in_at_most_one_of_twenty_runs() -> None:
    draw = random.Random(0)
    wrong, runs = 0, 400
    for _ in range(runs):
        groups = [set(draw.sample(range(30), draw.randint(1, 29))) for _ in range(20)]
        members = set(draw.sample(range(30), 8))
        least = [least_p_value(30, marked=len(group), drawn=8) for group in groups]
        tested = [groups[index] for index in tarone(least, risk=0.05)]
        p_values = [fisher_exact(30, marked=len(it), drawn=8, found=len(it & members)) for it in tested]
        wrong += min(holm(p_values), default=1.0) <= 0.05
    # Exact tests of few values are conservative; 400 runs know a share of 5 % to 2 % either way.
    assert 0 < wrong <= 0.07 * runs
