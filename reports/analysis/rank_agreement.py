"""Whether two lists rank the same items alike: Kendall's tau-b with an interval over the items.

The interval is the percentile bootstrap over the items. It shows how much the result depends on which items were tried.
It does not include noise between seeds, which moves tau towards zero.

Axes: U units (the ranked items), B resamples.

Source: Kendall, "The treatment of ties in ranking problems", 1945; Efron, "Bootstrap methods", 1979.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MIN_PATTERNS = 6
"""Fewer have no interval: two random orders of four patterns are the same once in 24 times."""
_NUM_RESAMPLES = 2_000
_PERCENT = (2.5, 97.5)

RankVerdict = Literal["agree", "oppose", "not settled"]


def rank_verdict(low: float | None, high: float | None) -> RankVerdict:
    """Returns the conclusion that an interval of tau supports; its ends are `None` where there is none."""
    if low is not None and low > 0:
        return "agree"
    if high is not None and high < 0:
        return "oppose"
    return "not settled"


def kendall_tau(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Returns Kendall's tau-b of two columns `[units]`; `None` if all values of one are equal."""
    (tau,) = _taus(first, second, counts_BU=np.ones((1, len(first))))
    return None if math.isnan(tau) else float(tau)


def tau_interval(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float] | None:
    """Returns the 95 % bootstrap interval of tau over units; `None` with fewer than `MIN_PATTERNS`."""
    num = len(first)
    if num < MIN_PATTERNS:
        return None
    counts_BU = np.random.default_rng(0).multinomial(num, np.full(num, 1 / num), size=_NUM_RESAMPLES)
    taus_B = _taus(first, second, counts_BU=counts_BU.astype(np.float64))
    taus_B = taus_B[~np.isnan(taus_B)]
    if not len(taus_B):
        return None
    low, high = np.percentile(taus_B, _PERCENT)
    return float(low), float(high)


def _taus(
    first: NDArray[np.float64], second: NDArray[np.float64], *, counts_BU: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns tau-b of each resample `[B]`, which has `counts_BU` of each unit. NaN if all values are equal."""
    first_UU = np.sign(first[:, None] - first[None, :])
    second_UU = np.sign(second[:, None] - second[None, :])

    def total(pairs_UU: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(((counts_BU @ pairs_UU) * counts_BU).sum(axis=1), dtype=np.float64)

    scale_B = np.sqrt(total(first_UU**2) * total(second_UU**2))
    agree_B = total(first_UU * second_UU)
    taus_B = np.full(len(counts_BU), np.nan)
    np.divide(agree_B, scale_B, out=taus_B, where=scale_B > 0)
    return taus_B
