"""How the difference between a pattern and plain changes with the models' size, and what may be claimed of it.

The difference in loss is followed over sizes by a line in the logarithm of the number of parameters. The line is fitted
by least squares. A size's weight is its number of fresh seeds, and not the inverse of its estimated variance: with few
seeds such weights are large where the variance is small by chance, and intervals of 95 % cover 87 to 90 %. What
follows from the line is a weighted sum of the differences, so its variance is the sum of their own variances.

The rule, with 95 % intervals. All need five fresh seeds at each size, none diverged.

- worse: at the largest size the difference is above zero.
- carries over: it is below zero at the largest size, and on the line at four times this size.
- fades: it is below zero at the smallest size, the line rises, and at four times the largest size it is not below zero.
- not settled: everything else. Three or more sizes must be on a line: where their curvature excludes zero, only `worse`
  can be settled.

The difference at the largest and smallest sizes is the measured one, without the line. Two sizes cannot show whether
the line holds. Nothing is claimed beyond four times the largest size.

Source: weighted least squares; Satterthwaite, 1946, for the degrees of freedom of a sum of variances.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.contrast import NONE, TWO_SIDED, Contrast, Variance, weighted_contrast
from depthweave.reports.analysis.verdicts import MIN_SEEDS

REACH = 4
"""Nothing is claimed beyond this factor times the largest size."""

SizeVerdict = Literal["carries over", "fades", "worse", "not settled"]
SIZE_VERDICTS: tuple[SizeVerdict, ...] = ("carries over", "fades", "worse", "not settled")


class SizePoint(NamedTuple):
    """The difference to plain at one size, nat/token: below zero the pattern is better."""

    parameters: int
    """Parameters without the embedding: the budget, where there is one."""
    mean: float
    contrast: Contrast | None = None
    """Over fresh seeds; `None` where their variance is unknown."""
    text: Variance = NONE
    """Variance by the validation text, a part of the contrast's."""
    num_diverged: int = 0
    """Seeds with which the pattern or plain diverged."""


class Signs(NamedTuple):
    """On which side of zero each 95 % interval of a trend is, 0 where it includes zero; one value or an array."""

    smallest: NDArray[np.int64]
    largest: NDArray[np.int64]
    slope: NDArray[np.int64]
    beyond: NDArray[np.int64]
    curvature: NDArray[np.int64]
    """0 with two sizes."""


class SizeTrend(NamedTuple):
    """The line through the differences at several sizes. The verdict needs all of it."""

    smallest: Contrast
    """The measured difference at the smallest size."""
    largest: Contrast
    """The measured difference at the largest size."""
    slope: Contrast
    """Change of the difference for each doubling of the parameters, nat/token."""
    beyond: Contrast
    """The line at `REACH` times the largest size."""
    curvature: Contrast | None
    """The second-degree part of three or more sizes; `None` for two."""

    @property
    def signs(self) -> Signs:
        """On which side of zero the intervals are."""
        none = np.zeros(np.shape(self.slope.mean), dtype=np.int64)
        return Signs(
            smallest=_sign(self.smallest),
            largest=_sign(self.largest),
            slope=_sign(self.slope),
            beyond=_sign(self.beyond),
            curvature=none if self.curvature is None else _sign(self.curvature),
        )


class Judged(NamedTuple):
    """A verdict by the rule above."""

    verdict: SizeVerdict
    why: str
    """Why it is not settled; empty for the other verdicts."""


def trend_of(points: Sequence[SizePoint]) -> SizeTrend | None:
    """Returns the trend of at least two different sizes, ascending; `None` where a size's variance is unknown."""
    contrasts = [it.contrast for it in points if it.contrast is not None]
    if len(contrasts) < max(2, len(points)):
        return None
    doublings_K = np.log2([it.parameters for it in points])
    seeds_K = np.array([it.num for it in contrasts], dtype=np.float64)
    texts = [it.text for it in points]

    def summed(weights_K: NDArray[np.float64]) -> Contrast:
        return weighted_contrast(contrasts, texts=texts, weights=weights_K.tolist())

    slope_K = slope_weights(doublings_K, weights_K=seeds_K)
    beyond = doublings_K[-1] + math.log2(REACH) - np.average(doublings_K, weights=seeds_K)
    bend_K = _curvature_weights(doublings_K, weights_K=seeds_K)
    return SizeTrend(
        smallest=contrasts[0],
        largest=contrasts[-1],
        slope=summed(slope_K),
        beyond=summed(seeds_K / seeds_K.sum() + slope_K * beyond),
        curvature=None if bend_K is None else summed(bend_K),
    )


def judge(points: Sequence[SizePoint], trend: SizeTrend | None) -> Judged:
    """Returns what may be claimed of a pattern at these sizes."""
    if any(it.num_diverged for it in points):
        return Judged("not settled", "a seed diverged")
    if trend is None or trend.slope.num < MIN_SEEDS:
        return Judged("not settled", f"fewer than {MIN_SEEDS} fresh seeds at a size")
    return judge_signs(trend.signs)


def judge_signs(signs: Signs) -> Judged:
    """Returns what may be claimed where there are enough seeds, from single signs."""
    if signs.largest > 0:
        return Judged("worse", "")
    if signs.curvature:
        return Judged("not settled", "the sizes are not on a line")
    if signs.largest < 0 and signs.beyond < 0:
        return Judged("carries over", "")
    if signs.smallest < 0 and signs.slope > 0 and signs.beyond >= 0:
        return Judged("fades", "")
    if signs.largest < 0:
        return Judged("not settled", f"a gain at the largest size, open at {REACH} times this size")
    return Judged("not settled", "no difference to plain is settled at the largest size")


def slope_weights(x_K: NDArray[np.float64], *, weights_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the factors of the values in the slope of their weighted least-squares line over `x_K`."""
    centred_K = weights_K * (x_K - np.average(x_K, weights=weights_K))
    return np.asarray(centred_K / (centred_K @ x_K), dtype=np.float64)


def _curvature_weights(x_K: NDArray[np.float64], *, weights_K: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Returns the factors of the values in the coefficient of x squared; `None` for two sizes."""
    if len(x_K) < 3:
        return None
    root_K = np.sqrt(weights_K)
    design_K3 = np.vander(x_K - x_K.mean(), 3) * root_K[:, None]
    return np.asarray(np.linalg.pinv(design_K3)[0] * root_K, dtype=np.float64)


def _sign(contrast: Contrast) -> NDArray[np.int64]:
    below = contrast.below
    return np.where(below >= TWO_SIDED, -1, np.where(below <= 1 - TWO_SIDED, 1, 0))
