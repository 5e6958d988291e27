"""Scores a set of tried architectures against the front of the whole table; and the interval of a median.

Hypervolume ratio: the volume that the tried points dominate over the volume that the table's own front dominates, both
up to one corner: the worst value of each objective in the table plus a tenth of the distance from its best to its
worst (`reports.front.reference_point`). Objectives are not transformed; the ratio does not depend on
their units. On NAS-Bench-201, cifar10, error against latency, random search has 0.842 / 0.875 / 0.902 / 0.927 / 0.935
after 25 / 50 / 100 / 200 / 300 evaluations (40 seeds).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import moocore
import numpy as np

from benchmarks.replay import Array
from depthweave.reports.analysis.front import hypervolume_frac, reference_point


class Yardstick:
    """Measures tried rows of a table against its front."""

    def __init__(self, points_NO: Array) -> None:
        self._points_NO = points_NO
        self._ideal_O, self._reference_O = points_NO.min(axis=0), reference_point(points_NO)
        kept_N = moocore.is_nondominated(points_NO, keep_weakly=True)
        self.front = frozenset(np.flatnonzero(kept_N).tolist())
        """Rows of the table's front."""
        self._whole = self._volume(sorted(self.front))

    def ratio(self, rows: Sequence[int]) -> float:
        """Hypervolume ratio of the rows tried, 0 to 1."""
        return self._volume(rows) / self._whole

    def kept_frac(self, rows: Sequence[int]) -> float:
        """Share of the table's front that is among the rows."""
        return len(self.front.intersection(rows)) / len(self.front)

    def improves(self, row: int, *, on: Sequence[int]) -> bool:
        """Whether the row adds to the volume of the others."""
        if not on:
            return True
        others_RO = self._points_NO[list(on)]
        return not bool((others_RO <= self._points_NO[row]).all(axis=1).any())

    def _volume(self, rows: Sequence[int]) -> float:
        points_RO = self._points_NO[list(rows)]
        return hypervolume_frac(points_RO, ideal=self._ideal_O, reference=self._reference_O)


class MedianInterval(NamedTuple):
    """A median, and two of the values that it lies between with 95 % confidence."""

    median: float
    low: float | None
    high: float | None
    """`None` below six values."""


def median_interval(values: Sequence[float]) -> MedianInterval:
    """Returns the median and the narrowest symmetric pair of values around it, for any distribution.

    Infinite values (never reached) are values like others.
    """
    ordered, count = sorted(values), len(values)
    middle = statistics.median(ordered)
    # The k-th smallest and the k-th largest miss the median with 2 P(binomial(count, 1/2) < k).
    missed, rank = 0.0, 0
    while rank < count // 2:
        missed += 2 * math.comb(count, rank) / 2**count
        if missed > 0.05:
            break
        rank += 1
    if rank == 0:
        return MedianInterval(middle, None, None)
    return MedianInterval(middle, ordered[rank - 1], ordered[count - rank])
