"""The scale of the surrogate: logarithms of losses above a floor, so that a long tail of bad candidates does not count.

Axes: M records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from depthweave.search.surrogate.candidates import FloatArray

_FLOOR_FRAC = 2.0
"""Distance of the floor below the lowest loss, as a share of the distance from there to the median."""
_MIN_HEIGHT_FRAC = 0.1
"""Smallest height of a forecast above the floor, as a share of that of the lowest loss."""
_MIN_LOSS_FRAC = 0.1
"""Smallest loss of an extrapolation, as a share of the lowest one."""
_MAX_LOG = 50.0


class Estimate(NamedTuple):
    """A forecast of a final loss."""

    mean: float
    sd: float


class LossScale(NamedTuple):
    """The logarithmic scale above a floor."""

    floor: float
    lowest: float
    """Height of the lowest loss above it."""

    @classmethod
    def of(cls, losses: FloatArray) -> LossScale:
        """Returns the scale of some losses, at least one."""
        lowest, median = float(losses.min()), float(np.median(losses))
        height = max(_FLOOR_FRAC * (median - lowest), 1e-6 * max(abs(lowest), 1e-6))
        return cls(lowest - height, height)

    def logarithms(self, estimates: Sequence[Estimate]) -> tuple[FloatArray, FloatArray]:
        """Returns mean and standard deviation of the logarithms of the heights above the floor, `[M]` each."""
        height_M = self._heights(np.array([item.mean for item in estimates]))
        variance_M = np.log1p(np.square(np.array([item.sd for item in estimates]) / height_M))
        return np.log(height_M) - 0.5 * variance_M, np.sqrt(variance_M)

    def losses(self, logs: FloatArray) -> FloatArray:
        """Returns the losses of logarithms of any shape. They are above 0, where extrapolated ones may not be."""
        least = _MIN_LOSS_FRAC * max(abs(self.floor + self.lowest), 1e-6)
        return np.asarray(np.maximum(self.floor + np.exp(np.minimum(logs, _MAX_LOG)), least))

    def logarithm(self, losses: FloatArray) -> FloatArray:
        """Returns the logarithms of the heights of losses, of any shape."""
        return np.asarray(np.log(self._heights(losses)))

    def _heights(self, losses: FloatArray) -> FloatArray:
        return np.maximum(losses - self.floor, _MIN_HEIGHT_FRAC * self.lowest)
