"""The mean of a few values and its 95 % interval, by Student's t."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

# Two-sided 95 % points of Student's t by degrees of freedom. Between two rows the larger point is used.
_STUDENT_T = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
    11: 2.201,
    14: 2.145,
    19: 2.093,
    29: 2.045,
}


class Interval(NamedTuple):
    """A mean over seeds and half of its 95 % interval, in the values' unit."""

    num: int
    """Number of values."""
    mean: float
    half_width: float | None
    """`None` for a single value."""

    @property
    def low(self) -> float | None:
        """Lower end; `None` for a single value."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end; `None` for a single value."""
        return None if self.half_width is None else self.mean + self.half_width


def mean_interval(values: Sequence[float]) -> Interval:
    """Returns the mean of at least one value, with its interval where there are two values."""
    half_width = None
    if len(values) >= 2:
        half_width = student_t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(len(values), statistics.fmean(values), half_width)


def student_t(degrees: int) -> float:
    """Returns the two-sided 95 % point of Student's t for these degrees of freedom, at least 1."""
    return _STUDENT_T[max(known for known in _STUDENT_T if known <= degrees)]
