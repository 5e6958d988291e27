"""The difference between two architectures' losses, with its variance by the seeds and by the validation text.

Within a depth and budget a seed has an effect that all architectures share (the data order, and the starts of the
parameters that they share), so losses are subtracted seed by seed. Across depths or budgets there is no such effect:
between two seeds, four sizes moved by +0.008, -0.013, +0.031 and +0.007 nat/token, each for all its architectures
(`docs/log/statistics.md`, 2026-11-26). There the means are subtracted, and each has its own variance over seeds.

The variance differs between pairs by a factor of ten and more, so every pair has its own. Shrinking it toward the mean
of all pairs, or of those with the same fusions, was tried and left out; the log has the figures.

All seeds are evaluated on the same text. The choice of that text favours some architectures, and more seeds do not
change that. Its variance is added (`fresh_losses` estimates it).

Axes: N draws or pairs, S seeds.

Source: paired t test; Welch, "The generalization of Student's problem", 1947; Satterthwaite, 1946, for the degrees of
freedom of a sum of variances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.intervals import Interval
from depthweave.reports.analysis.student_t import student_cdf, student_point

TWO_SIDED = 0.975
"""A 95 % interval leaves out one in forty on each side."""


class Variance(NamedTuple):
    """The variance of a mean and its degrees of freedom, infinite for a known variance; one value or an array."""

    value: NDArray[np.float64]
    degrees: NDArray[np.float64]


NONE = Variance(np.array(0.0), np.array(np.inf))


class Contrast(NamedTuple):
    """The first loss less the second, nat/token: below zero the first is better. One value or an array."""

    num: int
    """Seeds that both have, or the smaller number of seeds where they are not paired."""
    mean: NDArray[np.float64]
    seeds: Variance
    """Variance of the mean by the seeds alone."""
    whole: Variance
    """Variance of the mean by the seeds and the text."""

    @property
    def half_width(self) -> NDArray[np.float64]:
        """Half of the 95 % interval, the wider one of the two variances'.

        The text's part can only widen the interval. By the degrees of freedom alone it would sometimes narrow it, where
        few seeds show too small a variance by chance.
        """
        both = [student_point(TWO_SIDED, degrees=it.degrees) * np.sqrt(it.value) for it in (self.seeds, self.whole)]
        return np.maximum(*both)

    @property
    def below(self) -> NDArray[np.float64]:
        """Probability that the difference is below zero: 0.975 where the 95 % interval just ends at zero."""
        return self.below_by(0.0)

    def below_by(self, least: float) -> NDArray[np.float64]:
        """Returns the probability that the difference is below `-least`: the one closer to 1/2 of two."""
        mean = self.mean + least
        both = [probability_below(mean, variance=it) for it in (self.seeds, self.whole)]
        return np.where(mean < 0, np.minimum(*both), np.maximum(*both))

    @property
    def interval(self) -> Interval:
        """The 95 % interval of a single contrast."""
        return Interval(self.num, float(self.mean), float(self.half_width))


def paired_contrast(differences_NS: NDArray[np.float64], *, text: Variance = NONE) -> Contrast:
    """Returns the contrast of differences by seed, `[..., S]` with at least two seeds."""
    return _contrast(differences_NS.shape[-1], differences_NS.mean(axis=-1), _of_mean(differences_NS), text)


def unpaired_contrast(
    first_NS: NDArray[np.float64], second_NS: NDArray[np.float64], *, text: Variance = NONE
) -> Contrast:
    """Returns the contrast of two samples of losses, `[..., S]` with at least two seeds each."""
    mean = first_NS.mean(axis=-1) - second_NS.mean(axis=-1)
    num = min(first_NS.shape[-1], second_NS.shape[-1])
    return _contrast(num, mean, _of_mean(first_NS), _of_mean(second_NS), text)


def weighted_contrast(
    contrasts: Sequence[Contrast], *, texts: Sequence[Variance], weights: Sequence[float]
) -> Contrast:
    """Returns the weighted sum of independent contrasts that were evaluated on one text.

    `texts` are their variances by the text. How these errors hang together is not known: the sum gets the larger
    variance of two, for independent ones and for one that all share.
    """
    scaled = [
        Variance(weight**2 * it.seeds.value, it.seeds.degrees) for weight, it in zip(weights, contrasts, strict=True)
    ]
    seeds = _sum(*scaled)
    text = _sum(*(Variance(weight**2 * it.value, it.degrees) for weight, it in zip(weights, texts, strict=True)))
    shared = np.square(sum(weight * np.sqrt(it.value) for weight, it in zip(weights, texts, strict=True)))
    text = text._replace(value=np.maximum(text.value, shared))
    mean = sum(weight * it.mean for weight, it in zip(weights, contrasts, strict=True))
    return Contrast(min(it.num for it in contrasts), np.asarray(mean, dtype=np.float64), seeds, _sum(seeds, text))


def stack_contrasts(contrasts: Sequence[Contrast]) -> Contrast:
    """Returns single contrasts as one contrast of arrays, with the smallest `num`."""

    def stack(variances: Sequence[Variance]) -> Variance:
        return Variance(*(np.array([float(item[part]) for item in variances]) for part in (0, 1)))

    return Contrast(
        min(item.num for item in contrasts),
        np.array([float(item.mean) for item in contrasts]),
        stack([item.seeds for item in contrasts]),
        stack([item.whole for item in contrasts]),
    )


def intervals_of(contrasts: Sequence[Contrast]) -> list[Interval]:
    """Returns the 95 % intervals of single contrasts, computed together."""
    if not contrasts:
        return []
    half_widths = stack_contrasts(contrasts).half_width.tolist()
    return [Interval(it.num, float(it.mean), own) for it, own in zip(contrasts, half_widths, strict=True)]


def probability_below(mean: NDArray[np.float64], *, variance: Variance) -> NDArray[np.float64]:
    """Returns Student's probability that differences with these means and variances of the mean are below zero."""
    error = np.sqrt(variance.value)
    known = error > 0
    ratio = np.divide(-mean, error, out=np.zeros(np.shape(mean)), where=known)
    exact = np.where(mean < 0, 1.0, np.where(mean > 0, 0.0, 0.5))
    return np.asarray(np.where(known, student_cdf(ratio, degrees=variance.degrees), exact), dtype=np.float64)


def _of_mean(values_NS: NDArray[np.float64]) -> Variance:
    num = values_NS.shape[-1]
    return Variance(np.asarray(values_NS.var(axis=-1, ddof=1) / num), np.array(num - 1.0))


def _contrast(num: int, mean: NDArray[np.float64], *parts: Variance) -> Contrast:
    """Returns the contrast; the last part is the variance by the text."""
    return Contrast(num, np.asarray(mean), _sum(*parts[:-1]), _sum(*parts))


def _sum(*parts: Variance) -> Variance:
    total = np.asarray(sum(part.value for part in parts), dtype=np.float64)
    spread = np.asarray(sum(part.value**2 / part.degrees for part in parts), dtype=np.float64)
    # Where all variances are zero the fewest degrees of freedom are used.
    fewest = np.full_like(total, min(float(np.min(part.degrees)) for part in parts))
    return Variance(total, np.divide(total**2, spread, out=fewest, where=spread > 0))
