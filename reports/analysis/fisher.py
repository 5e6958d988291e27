"""Fisher's exact test on a two-by-two table of counts, and the corrections of Tarone and Holm for several tests.

Source: R. A. Fisher, "The Design of Experiments", 1935; R. E. Tarone, "A Modified Bonferroni Method for Discrete
Data", Biometrics 46, 1990; S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=4096)
def fisher_exact(total: int, *, marked: int, drawn: int, found: int) -> float:
    """Returns the two-sided p-value of `found` marked items among `drawn` of `total`, of which `marked` are marked.

    It is the probability of all draws that are at most as likely as this one. Whole numbers make ties exact. Raises
    `ValueError` for counts that no draw can have.
    """
    lowest, highest = _extremes(total, marked=marked, drawn=drawn)
    if not (0 <= marked <= total and 0 <= drawn <= total and lowest <= found <= highest):
        raise ValueError(f"fisher_exact: {found} found of {drawn} drawn, {marked} marked of {total}: no draw has these")
    ways = [math.comb(marked, item) * math.comb(total - marked, drawn - item) for item in range(lowest, highest + 1)]
    as_unlikely = sum(item for item in ways if item <= ways[found - lowest])
    return as_unlikely / math.comb(total, drawn)


def least_p_value(total: int, *, marked: int, drawn: int) -> float:
    """Returns the smallest p-value that `fisher_exact` can have with these totals."""
    return min(
        fisher_exact(total, marked=marked, drawn=drawn, found=found)
        for found in _extremes(total, marked=marked, drawn=drawn)
    )


def tarone(least: Sequence[float], *, risk: float) -> list[int]:
    """Returns the tests that remain after Tarone's correction, by index: their least p-value is at most risk / k.

    `k` is the smallest number for which at most k tests remain. The choice depends on the totals alone, so the tests
    that it leaves out need no correction.
    """
    ordered = sorted(least)
    for k in range(1, len(least) + 1):
        if bisect_right(ordered, risk / k) <= k:
            return [index for index, p in enumerate(least) if p <= risk / k]
    return []


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values after Holm's step-down correction, in the given order.

    Tests with a corrected value of at most 0.05 reject a true hypothesis anywhere among them in at most 5 % of cases.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _extremes(total: int, *, marked: int, drawn: int) -> tuple[int, int]:
    """Returns the fewest and the most marked items that a draw can have."""
    return max(0, drawn - (total - marked)), min(drawn, marked)
