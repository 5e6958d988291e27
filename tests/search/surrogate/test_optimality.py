"""Probabilities of optimality and expected improvements: closed forms by hand and by sampling."""

from __future__ import annotations

import numpy as np
import pytest

from depthweave.search.surrogate.learning_curves import Forecast
from depthweave.search.surrogate.optimality import FrontOptimality, optimality_of, should_start_new

_FRONT = FrontOptimality(np.array([3.0, 2.0]), np.array([[1.0], [4.0]]), np.array([5.0, 10.0]))


def forecast(*pairs: tuple[float, float]) -> Forecast:
    return Forecast(*np.array(pairs, dtype=np.float64).T)


def test_probability_is_that_of_student_t_with_four_degrees_of_freedom_by_hand() -> None:
    # Tables of t: 5 % lies below -2.132, 2.5 % below -2.776, half below 0.
    found = _FRONT.probabilities(forecast((5.132, 1.0), (4.388, 0.5), (3.0, 1.0)), np.array([[1.0], [2.0], [3.0]]))
    np.testing.assert_allclose(found, [0.05, 0.025, 0.5], atol=2e-4)


def test_probability_refers_to_the_best_front_member_that_costs_no_more() -> None:
    optimality = FrontOptimality(np.array([1.0, 2.0]), np.array([[1.0, 9.0], [2.0, 2.0]]), np.array([5.0, 10.0, 10.0]))
    costs = np.array([[2.0, 2.0], [1.9, 2.0], [9.0, 9.0], [1.0, 8.0]])
    found = optimality.probabilities(forecast(*[(2.0, 0.1)] * 4), costs)
    assert found[:2].tolist() == [0.5, 1.0]
    assert found[2] < 0.001
    assert found[3] == 1.0


def test_probability_for_a_complete_curve_is_0_or_1() -> None:
    found = _FRONT.probabilities(forecast((2.9, 0.0), (3.1, 0.0)), np.array([[1.0], [1.0]]))
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-9)


def test_expected_improvement_is_the_mean_added_volume_of_samples() -> None:
    mean, sd, cost = 2.5, 0.6, 2.0
    samples = np.random.default_rng(0).normal(mean, sd, 40_000)
    # It improves on loss 3 up to the second member's cost, and on loss 2 from there to the reference point.
    added = (4.0 - cost) * np.maximum(3.0 - samples, 0.0) + (10.0 - 4.0) * np.maximum(2.0 - samples, 0.0)
    found = _FRONT.improvements(forecast((mean, sd)), np.array([[cost]]))[0]
    assert found == pytest.approx(added.mean(), abs=4 * added.std() / 200)


def test_front_has_no_dominated_trials_and_the_reference_point_lies_beyond_all() -> None:
    optimality = optimality_of(
        np.array([3.0, 2.0, 2.5]), np.array([[1.0], [2.0], [2.0]]), all_costs=np.array([[1.0], [6.0]])
    )
    assert optimality.losses_F.tolist() == [3.0, 2.0]
    np.testing.assert_allclose(optimality.reference_O, [3.1, 6.5])


@pytest.mark.parametrize(
    ("improvements", "rate", "expected"),
    [
        # Above 0.1 for nine evaluations: 0 and 1.1, on average 0.55, for a first evaluation that costs 0.1.
        ([0.0, 2.0], 0.1, True),
        # Above 0.2 for nine evaluations: 0 and 0.2, on average 0.1, for 0.2.
        ([0.0, 2.0], 0.2, False),
        ([0.5, 0.5], 0.0, True),
        ([0.0, 0.0], 0.0, False),
    ],
)
def test_new_trial_starts_if_its_expected_value_exceeds_its_first_evaluation_by_hand(
    improvements: list[float], rate: float, expected: bool
) -> None:
    assert should_start_new(np.array(improvements), rate=rate, first=1, rest=9) == expected
