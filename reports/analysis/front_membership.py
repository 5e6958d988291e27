"""The probability that an architecture is on the front: for each rival, whether it is ahead in every objective.

For an architecture and a rival, each objective gives a probability that the rival is at least as good. The probability
that the rival dominates is at most the smallest of these, however they depend on each other. The rival that is most
likely to dominate determines the architecture's probability of being on the front.

The membership is settled where a test distinguishes the architecture from every rival in some objective, each with an
error in at most one of forty cases. The claim that all of several differences hold needs no correction for their
number: it is false only if one of them is, and that one has its own test.

A rival that is ahead by at most the tolerance in every objective is a twin and does not count.

Losses are compared by `contrast` where both architectures have fresh seeds. An architecture with the search's seed
alone gets the variance of the others: against its own depth and budget the variance without the seeds' effects, against
other sizes the whole variance over seeds. A timed cost is normally distributed about its value, with the 95 % interval
of its measurement. Other costs are exact.

Axes: P points, R rivals, a subset of the points.

Source: Berger, "Multiparameter hypothesis testing and acceptance sampling", 1982 (intersection-union tests).
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import moocore
import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.contrast import Contrast, Variance, probability_below, stack_contrasts
from depthweave.reports.analysis.fresh_losses import FreshLosses, contrast_of, text_variance
from depthweave.reports.analysis.front import end_of, points_of
from depthweave.reports.analysis.seed_blocks import fit_blocks
from depthweave.reports.analysis.seeds import Size, size_of
from depthweave.reports.analysis.student_t import tabulated_normal_cdf
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import tolerances_of

_NORMAL_95 = 1.96
_LEAST_SD = 1e-12


class FrontMembership(NamedTuple):
    """The probability that an architecture is on the front."""

    probability: float
    """Probability that the rival most likely to dominate it does not."""
    rival: int | None
    """Index of that rival among the points; `None` where there is no other point."""


class _Ahead(NamedTuple):
    """How probable it is that rivals are ahead in one objective; `[P, R]`."""

    ahead_PR: NDArray[np.float64]
    """Probability that the rival is at least as good."""
    clearly_PR: NDArray[np.float64]
    """Probability that the rival is better by more than the tolerance."""


class _Noise(NamedTuple):
    """Variance of one training's loss, with its degrees of freedom."""

    variance: float
    degrees: float
    text: float
    """Variance of a difference by the text: the largest known one, as a single seed does not show its own."""


def front_memberships(
    points: Sequence[Record],
    *,
    fresh_losses: Mapping[str, FreshLosses],
    objectives: Sequence[str],
    tolerances: Mapping[str, float] | None = None,
) -> list[FrontMembership]:
    """Returns the membership of each point. The points are complete and at the mean of their seeds (`seeds.averaged`).

    At least one architecture has two fresh seeds: without them the variance is unknown.
    """
    rivals = _rivals(points, fresh_losses=fresh_losses, objectives=objectives)
    ahead_PR, clearly_PR = np.ones((len(points), len(rivals))), np.zeros((len(points), len(rivals)))
    for name, tolerance in tolerances_of(objectives, tolerances).items():
        if OBJECTIVES[name].cost:
            ahead = _cost_ahead(points, rivals, name=name, tolerance=tolerance)
        else:
            ahead = _loss_ahead(
                points, rivals, fresh_losses=fresh_losses, least=_nats(points, name, tolerance=tolerance)
            )
        ahead_PR = np.minimum(ahead_PR, ahead.ahead_PR)
        clearly_PR = clearly_PR + ahead.clearly_PR
    # A rival that is ahead by at most the tolerance is a twin.
    ahead_PR = np.minimum(ahead_PR, clearly_PR)
    ahead_PR[rivals, np.arange(len(rivals))] = -1.0
    memberships = []
    for own_R in ahead_PR:
        likeliest = int(np.argmax(own_R))
        alone = own_R[likeliest] < 0
        memberships.append(
            FrontMembership(1.0 if alone else float(1 - own_R[likeliest]), None if alone else int(rivals[likeliest]))
        )
    return memberships


def contrasts_of(ids: Sequence[str], *, fresh_losses: Mapping[str, FreshLosses]) -> dict[tuple[int, int], Contrast]:
    """Returns the contrasts of all pairs with enough fresh seeds, by indices in `ids`, the smaller index first."""
    known = [index for index, own in enumerate(ids) if own in fresh_losses]
    contrasts = {}
    for first, second in itertools.combinations(known, 2):
        contrast = contrast_of(fresh_losses[ids[first]], fresh_losses[ids[second]])
        if contrast is not None:
            contrasts[first, second] = contrast
    return contrasts


def _rivals(
    points: Sequence[Record], *, fresh_losses: Mapping[str, FreshLosses], objectives: Sequence[str]
) -> NDArray[np.int64]:
    """Returns the indices of all points with fresh seeds, and of the non-dominated ones of the others.

    A dominated point is no further danger: the point that dominates it is ahead wherever it is.
    """
    rest: dict[Size, list[int]] = defaultdict(list)
    kept = []
    for number, item in enumerate(points):
        if item.architecture_id in fresh_losses:
            kept.append(number)
        else:
            rest[size_of(item)].append(number)
    for numbers in rest.values():
        values_NO = points_of([points[number] for number in numbers], objectives=objectives)
        kept += [numbers[index] for index in np.flatnonzero(moocore.is_nondominated(values_NO, keep_weakly=True))]
    return np.array(sorted(kept), dtype=np.int64)


def _cost_ahead(points: Sequence[Record], rivals: NDArray[np.int64], *, name: str, tolerance: float) -> _Ahead:
    value_P = np.array([float(column_value(item, name)) for item in points])
    sd_P = np.array([_timing_sd(item, name) for item in points])
    over_PR = value_P[:, None] - value_P[rivals]
    sd_PR = np.hypot(sd_P[:, None], sd_P[rivals])
    beyond_PR = over_PR - tolerance * value_P[:, None]
    return _Ahead(
        _normal_above(over_PR, sd_PR=sd_PR), np.where(beyond_PR == 0, 0.0, _normal_above(beyond_PR, sd_PR=sd_PR))
    )


def _timing_sd(record: Record, name: str) -> float:
    """Returns the standard deviation of the measurement; 0 of an objective without an interval."""
    low, high = end_of(record, name, "low"), end_of(record, name, "high")
    return 0.0 if low is None or high is None else max(0.0, high - low) / (2 * _NORMAL_95)


def _loss_ahead(
    points: Sequence[Record], rivals: NDArray[np.int64], *, fresh_losses: Mapping[str, FreshLosses], least: float
) -> _Ahead:
    """Returns how probable it is that rivals have a lower loss; `least` is the tolerance, nat/token."""
    ids = [item.architecture_id for item in points]
    sizes: dict[Size, int] = {}
    within, across = _noises([fresh_losses[own] for own in ids if own in fresh_losses])
    size_P = np.array([sizes.setdefault(size_of(item), len(sizes)) for item in points])
    loss_P = np.array([math.nan if item.loss is None else item.loss for item in points])
    inverse_num_P = np.array([1 / len(fresh_losses[own].losses) if own in fresh_losses else 1.0 for own in ids])
    same_size_PR = size_P[:, None] == size_P[rivals]
    mean_PR = loss_P[rivals] - loss_P[:, None]
    variance_PR = np.where(same_size_PR, within.variance, across.variance) * (
        inverse_num_P[:, None] + inverse_num_P[rivals]
    )
    variance_PR = variance_PR + np.where(same_size_PR, within.text, across.text)
    noise = Variance(variance_PR, np.where(same_size_PR, within.degrees, across.degrees))
    ahead_PR, clearly_PR = (probability_below(mean_PR + more, variance=noise) for more in (0.0, least))
    column = {int(rival): index for index, rival in enumerate(rivals)}
    known = contrasts_of(ids, fresh_losses=fresh_losses)
    if known:
        # As arrays and in both directions: one pair at a time takes seconds for a front of fifty.
        stacked = stack_contrasts(list(known.values()))
        for (row, rival), contrast in (((1, 0), stacked), ((0, 1), stacked._replace(mean=-stacked.mean))):
            at = ([pair[row] for pair in known], [column[pair[rival]] for pair in known])
            ahead_PR[at], clearly_PR[at] = contrast.below, contrast.below_by(least)
    return _Ahead(ahead_PR, clearly_PR)


def _nats(points: Sequence[Record], name: str, *, tolerance: float) -> float:
    """Returns the tolerance of a quality objective as a difference in loss."""
    if OBJECTIVES[name].of_loss == "exponential":
        return math.log1p(tolerance)
    return tolerance * float(np.median([item.loss for item in points if item.loss is not None]))


def _noises(known: Sequence[FreshLosses]) -> tuple[_Noise, _Noise]:
    """Returns the noise of one training: within a depth and budget without the seeds' effects, and over all seeds."""
    sizes: dict[Size, list[FreshLosses]] = defaultdict(list)
    for own in known:
        sizes[own.size].append(own)
    pairs = list(itertools.combinations(known, 2))
    text = {
        same: max(
            (float(text_variance(*pair).value) for pair in pairs if (pair[0].size == pair[1].size) is same), default=0.0
        )
        for same in (True, False)
    }
    several = [own for own in known if len(own.losses) >= 2]
    # Architectures of one size share the effects of its seeds, so further ones add no degrees of freedom.
    across_degrees = sum(max(len(own.losses) for own in held) - 1 for held in sizes.values())
    across = _Noise(
        float(np.mean([np.var(list(own.losses.values()), ddof=1) for own in several])), across_degrees, text[False]
    )
    blocks = [fit_blocks([own.losses for own in held]) for held in sizes.values()]
    degrees = sum(item.degrees for item in blocks)
    if not degrees:
        return across._replace(text=text[True]), across
    return _Noise(sum(item.residual for item in blocks) / degrees, degrees, text[True]), across


def _normal_above(mean_PR: NDArray[np.float64], *, sd_PR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the normal probability of a value of at least zero."""
    known_PR = sd_PR > _LEAST_SD
    z_PR = np.divide(mean_PR, sd_PR, out=np.zeros_like(mean_PR), where=known_PR)
    return np.asarray(np.where(known_PR, tabulated_normal_cdf(z_PR), mean_PR >= 0), dtype=np.float64)
