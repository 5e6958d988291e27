"""Student's interval against numbers done by hand."""

from __future__ import annotations

import pytest

from depthweave.reports.analysis.intervals import Interval, mean_interval, student_t


def test_mean_interval_by_hand() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    # Standard error 1 / sqrt(3), two degrees of freedom.
    assert found == pytest.approx((3, 2.0, 4.303 / 3**0.5))
    assert (found.low, found.high) == pytest.approx((2.0 - 2.48434, 2.0 + 2.48434), abs=1e-4)


def test_mean_interval_of_one_value_has_no_ends() -> None:
    found = mean_interval([1.5])
    assert found == Interval(1, 1.5, None)
    assert found.low is None
    assert found.high is None


def test_student_t_never_too_narrow_between_rows() -> None:
    assert student_t(10) == student_t(9) == 2.262
    assert student_t(500) == student_t(29)
    with pytest.raises(ValueError, match="empty"):
        student_t(0)
