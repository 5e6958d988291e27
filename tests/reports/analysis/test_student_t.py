"""Student's t against tables and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depthweave.reports.analysis.intervals import student_t
from depthweave.reports.analysis.student_t import student_cdf, student_point, tabulated_normal_cdf


def test_points_are_those_of_any_table() -> None:
    found = student_point(0.975, degrees=[1, 2, 3, 4, 9, 29, 1e9])
    assert found == pytest.approx([12.7062, 4.3027, 3.1824, 2.7764, 2.2622, 2.0452, 1.9600], abs=3e-4)


@pytest.mark.parametrize("value", [-30.0, -1.0, 0.0, 0.3, 2.0, 50.0])
def test_cdf_of_one_and_two_degrees_is_their_closed_form(value: float) -> None:
    assert student_cdf(value, degrees=1) == pytest.approx(0.5 + math.atan(value) / math.pi)
    assert student_cdf(value, degrees=2) == pytest.approx(0.5 + value / (2 * math.sqrt(2 + value**2)))


def test_point_and_cdf_undo_each_other_between_whole_degrees() -> None:
    degrees = np.array([[1.3, 2.5], [4.7, 60.2]])
    assert student_cdf(student_point(0.9, degrees=degrees), degrees=degrees) == pytest.approx(np.full((2, 2), 0.9))


def test_many_values_are_looked_up_to_six_digits() -> None:
    values = np.concatenate([np.linspace(-9, 9, 30_001), [-1e9, 1e9, np.inf]])
    for degrees in (1.0, 4.0, 33.3):
        exact = np.concatenate([student_cdf(part, degrees=degrees) for part in np.array_split(values, 3)])
        assert np.abs(student_cdf(values, degrees=degrees) - exact).max() < 2e-6
    exact = np.concatenate([tabulated_normal_cdf(part) for part in np.array_split(values, 3)])
    assert np.abs(tabulated_normal_cdf(values) - exact).max() < 2e-6


def test_far_values_overflow_nothing() -> None:
    assert student_cdf([1e300, -1e300, np.inf], degrees=[1, 3, 5]) == pytest.approx([1.0, 0.0, 1.0])


def test_point_of_no_degrees_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        student_point(0.975, degrees=0)


def test_table_of_intervals_has_the_same_points() -> None:
    for degrees in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 19, 29):
        assert student_t(degrees) == pytest.approx(float(student_point(0.975, degrees=degrees)), abs=5e-4)
