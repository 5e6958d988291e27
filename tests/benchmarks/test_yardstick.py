"""Hypervolume ratios and medians that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.yardstick import Yardstick, median_interval

POINTS_NO = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0]])


def test_ratio_is_the_dominated_area_up_to_a_tenth_beyond_the_worst() -> None:
    yardstick = Yardstick(POINTS_NO)
    # The corner is (3.2, 3.2); the front's area is three steps: 2.2 x 0.2 + 1.2 x 1.0 + 0.2 x 1.0.
    assert yardstick.ratio([1]) == pytest.approx(1.2 * 1.2 / 1.84)
    assert yardstick.ratio([0, 1, 2]) == pytest.approx(1.0)
    assert yardstick.ratio([]) == 0.0


def test_ratio_does_not_depend_on_units() -> None:
    rows = [1, 3]
    assert Yardstick(POINTS_NO * [1e9, 1e-3]).ratio(rows) == pytest.approx(Yardstick(POINTS_NO).ratio(rows))


def test_front_and_what_improves_it() -> None:
    yardstick = Yardstick(POINTS_NO)
    assert yardstick.front == {0, 1, 2}
    assert yardstick.kept_frac([1, 3]) == pytest.approx(1 / 3)
    assert yardstick.improves(3, on=[])
    assert yardstick.improves(0, on=[1])
    assert not yardstick.improves(3, on=[1])
    assert not yardstick.improves(1, on=[1])


def test_median_interval_is_that_of_the_order_statistics() -> None:
    # Twenty values: the 6th and the 15th cover the median with 95.9 %, the textbook pair.
    assert median_interval([float(value) for value in range(20, 0, -1)]) == (10.5, 6.0, 15.0)
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, math.inf]) == (3.5, 1.0, math.inf)
    assert median_interval([1.0, 2.0, math.inf, math.inf, math.inf]) == (math.inf, None, None)
