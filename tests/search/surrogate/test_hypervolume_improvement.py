"""Expected hypervolume improvement: by hand, against numerical integration, and against exact hypervolumes."""

from __future__ import annotations

import math
from collections.abc import Callable

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from depthweave.search.surrogate.hypervolume_improvement import (
    hypervolume_improvement,
    lognormal_improvement,
    normal_cdf,
    normal_improvement,
)

FloatArray = NDArray[np.float64]


def certain(losses_N: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """The improvement of known losses."""
    return lambda levels_L: np.maximum(levels_L - losses_N[:, None], 0.0)


def test_two_intervals_by_hand() -> None:
    # Front: loss 2 from cost 1, loss 1 from cost 3; the reference point has loss 4 and cost 5. A candidate of loss 0.5
    # and cost 2 adds 2 - 0.5 from 2 to 3, and 1 - 0.5 from 3 to 5. The one of cost 0 adds in addition 4 - 0.5 from 0 to
    # 1 and 2 - 0.5 from 1 to 2. Those of loss 1.5 and cost 3.5 and beyond the reference point add nothing.
    losses_N = np.array([0.5, 0.5, 1.5, 0.5])
    costs_NC = np.array([[2.0], [0.0], [3.5], [6.0]])
    found = hypervolume_improvement(
        certain(losses_N),
        costs_NC,
        front_losses_F=np.array([2.0, 1.0]),
        front_costs_FC=np.array([[1.0], [3.0]]),
        reference_O=np.array([4.0, 5.0]),
    )
    np.testing.assert_allclose(found, [1.5 + 1.0, 3.5 + 3.0 + 1.0, 0.0, 0.0], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(num_costs=st.integers(1, 3), num_front=st.integers(0, 7), seed=st.integers(0, 2**32 - 1))
def test_known_losses_give_the_difference_of_hypervolumes(num_costs: int, num_front: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Coarse values: ties between candidates, front and reference are common.
    points_FO = rng.integers(0, 6, size=(num_front, 1 + num_costs)) / 5.0
    candidates_NO = rng.integers(0, 7, size=(9, 1 + num_costs)) / 5.0
    reference_O = np.full(1 + num_costs, 1.1)
    found = hypervolume_improvement(
        certain(candidates_NO[:, 0]),
        candidates_NO[:, 1:],
        front_losses_F=points_FO[:, 0],
        front_costs_FC=points_FO[:, 1:],
        reference_O=reference_O,
    )

    def volume(points_PO: FloatArray) -> float:
        inside = points_PO[(points_PO < reference_O).all(axis=1)]
        return float(moocore.hypervolume(inside, ref=reference_O)) if len(inside) else 0.0

    expected = [volume(np.vstack([points_FO, candidate])) - volume(points_FO) for candidate in candidates_NO]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_without_costs_it_is_the_expected_improvement() -> None:
    mean_N, sd_N = np.array([0.0, 1.0]), np.array([1.0, 0.5])
    found = hypervolume_improvement(
        lambda levels_L: normal_improvement(mean_N, sd_N, levels_L),
        np.ones((2, 0)),
        front_losses_F=np.array([0.7, 0.3]),
        front_costs_FC=np.ones((2, 0)),
        reference_O=np.array([2.0]),
    )
    np.testing.assert_allclose(found, normal_improvement(mean_N, sd_N, np.array([0.3]))[:, 0])


@pytest.mark.parametrize("level", [-1.0, 0.2, 3.0])
def test_improvements_equal_integrals(level: float) -> None:
    mean, sd = 0.4, 0.7
    z = np.linspace(-9.0, 9.0, 400_001)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    normal = np.trapezoid(np.maximum(level - (mean + sd * z), 0.0) * density, z)
    found = normal_improvement(np.array([mean]), np.array([sd]), np.array([level]))[0, 0]
    assert found == pytest.approx(normal, rel=1e-6)
    above = math.exp(level)
    lognormal = np.trapezoid(np.maximum(above - np.exp(mean + sd * z), 0.0) * density, z)
    found = lognormal_improvement(np.array([mean]), np.array([sd]), np.array([above]))[0, 0]
    assert found == pytest.approx(lognormal, rel=1e-6)


def test_normal_cdf_equals_the_error_function() -> None:
    z = np.linspace(-8.0, 8.0, 161)
    expected = [0.5 * math.erfc(-value / math.sqrt(2.0)) for value in z]
    np.testing.assert_allclose(normal_cdf(z), expected, rtol=1e-12, atol=1e-15)
