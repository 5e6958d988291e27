"""How sure it is that nothing dominates an architecture: of each rival, whether it is ahead in everything.

For an architecture and a rival, each objective gives a probability that the rival is at least as good. The rival
dominates with at most the smallest of these, whatever they have to do with each other, and an architecture's place is
as sure as its most dangerous rival lets it be. So a place is called settled where every rival is told apart from it in
some objective, each by a test that errs in at most one of forty cases. A claim that all of several differences hold
needs no correction for their number: it is false only where one of them is, and that one passes its own test.

A rival that is ahead by no more than the tolerance in every objective is a twin, and endangers nobody's place.

Losses are compared by `contrast` where both have fresh seeds. One that has the search's seed alone takes part with
the noise of the others: that of its depth and budget, the seed's effect taken out, against its like, and the whole
spread over seeds against other sizes. A timed cost is normal about its value, with the 95 % interval of its
measurement; other costs are exact.

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

from depthweave.reports.analysis.contrast import Contrast, Variance, probability_below, stacked
from depthweave.reports.analysis.evidence import Evidence, contrast_of, text_variance
from depthweave.reports.analysis.front import end_of, points_of
from depthweave.reports.analysis.seed_blocks import fit_blocks
from depthweave.reports.analysis.seeds import Size, size_of
from depthweave.reports.analysis.student_t import normal_cdf
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import tolerances_of

_NORMAL_95 = 1.96
_LEAST_SD = 1e-12


class FrontMembership(NamedTuple):
    """How sure an architecture's place on the front is."""

    probability: float
    """That the rival most likely to dominate it does not."""
    rival: int | None
    """That rival's number among the points; `None` where there is no other."""


class _Ahead(NamedTuple):
    """Of rivals, in one objective; `[P, R]`."""

    ahead_PR: NDArray[np.float64]
    """Probability that a rival is at least as good."""
    clearly_PR: NDArray[np.float64]
    """Probability that it is better by more than the tolerance."""


class _Noise(NamedTuple):
    """Variance of one training's loss, with its degrees of freedom."""

    variance: float
    degrees: float
    text: float
    """What the text adds to a difference: the largest known, for of one seed's difference no more is known."""


def front_memberships(
    points: Sequence[Record],
    *,
    evidence: Mapping[str, Evidence],
    objectives: Sequence[str],
    tolerances: Mapping[str, float] | None = None,
) -> list[FrontMembership]:
    """The place of each point, which is complete and stands at the mean of its seeds (`seeds.averaged`).

    Some architecture has two fresh seeds: else there is nothing to judge noise by.
    """
    rivals = _rivals(points, evidence=evidence, objectives=objectives)
    ahead_PR, clearly_PR = np.ones((len(points), len(rivals))), np.zeros((len(points), len(rivals)))
    for name, tolerance in tolerances_of(objectives, tolerances).items():
        if OBJECTIVES[name].cost:
            found = _cost_ahead(points, rivals, name=name, tolerance=tolerance)
        else:
            found = _loss_ahead(points, rivals, evidence=evidence, least=_nats(points, name, tolerance=tolerance))
        ahead_PR = np.minimum(ahead_PR, found.ahead_PR)
        clearly_PR = clearly_PR + found.clearly_PR
    # A rival that is ahead by no more than the tolerance is a twin.
    ahead_PR = np.minimum(ahead_PR, clearly_PR)
    ahead_PR[rivals, np.arange(len(rivals))] = -1.0
    places = []
    for own_R in ahead_PR:
        likeliest = int(np.argmax(own_R))
        alone = own_R[likeliest] < 0
        places.append(
            FrontMembership(1.0 if alone else float(1 - own_R[likeliest]), None if alone else int(rivals[likeliest]))
        )
    return places


def contrasts_of(ids: Sequence[str], *, evidence: Mapping[str, Evidence]) -> dict[tuple[int, int], Contrast]:
    """The contrasts of all pairs with enough fresh seeds, by places in `ids`, the first below the second."""
    held = [place for place, own in enumerate(ids) if own in evidence]
    found = {}
    for first, second in itertools.combinations(held, 2):
        known = contrast_of(evidence[ids[first]], evidence[ids[second]])
        if known is not None:
            found[first, second] = known
    return found


def _rivals(
    points: Sequence[Record], *, evidence: Mapping[str, Evidence], objectives: Sequence[str]
) -> NDArray[np.int64]:
    """All with fresh seeds, and of the others those that none of them beats: what beats one beats whom it beats."""
    rest: dict[Size, list[int]] = defaultdict(list)
    kept = []
    for number, item in enumerate(points):
        if item.architecture_id in evidence:
            kept.append(number)
        else:
            rest[size_of(item)].append(number)
    for numbers in rest.values():
        values_NO = points_of([points[number] for number in numbers], objectives=objectives)
        kept += [numbers[place] for place in np.flatnonzero(moocore.is_nondominated(values_NO, keep_weakly=True))]
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
    points: Sequence[Record], rivals: NDArray[np.int64], *, evidence: Mapping[str, Evidence], least: float
) -> _Ahead:
    """`least` is the tolerance, nat/token."""
    ids = [item.architecture_id for item in points]
    sizes: dict[Size, int] = {}
    within, across = _noises([evidence[own] for own in ids if own in evidence])
    size_P = np.array([sizes.setdefault(size_of(item), len(sizes)) for item in points])
    loss_P = np.array([math.nan if item.loss is None else item.loss for item in points])
    share_P = np.array([1 / len(evidence[own].losses) if own in evidence else 1.0 for own in ids])
    like_PR = size_P[:, None] == size_P[rivals]
    mean_PR = loss_P[rivals] - loss_P[:, None]
    variance_PR = np.where(like_PR, within.variance, across.variance) * (share_P[:, None] + share_P[rivals])
    variance_PR = variance_PR + np.where(like_PR, within.text, across.text)
    noise = Variance(variance_PR, np.where(like_PR, within.degrees, across.degrees))
    ahead_PR, clearly_PR = (probability_below(mean_PR + more, variance=noise) for more in (0.0, least))
    column = {int(number): place for place, number in enumerate(rivals)}
    known = contrasts_of(ids, evidence=evidence)
    if known:
        # All at once, both ways: one at a time a front of fifty takes seconds.
        each = stacked(list(known.values()))
        for (row, rival), found in (((1, 0), each), ((0, 1), each._replace(mean=-each.mean))):
            at = ([pair[row] for pair in known], [column[pair[rival]] for pair in known])
            ahead_PR[at], clearly_PR[at] = found.below, found.below_by(least)
    return _Ahead(ahead_PR, clearly_PR)


def _nats(points: Sequence[Record], name: str, *, tolerance: float) -> float:
    """Returns the tolerance of a quality objective as a difference in loss."""
    if OBJECTIVES[name].of_loss == "exponential":
        return math.log1p(tolerance)
    return tolerance * float(np.median([item.loss for item in points if item.loss is not None]))


def _noises(known: Sequence[Evidence]) -> tuple[_Noise, _Noise]:
    """Of one training: within a depth and budget, the seed's effect taken out, and over seeds on the whole."""
    sizes: dict[Size, list[Evidence]] = defaultdict(list)
    for own in known:
        sizes[own.size].append(own)
    pairs = list(itertools.combinations(known, 2))
    text = {
        like: max(
            (float(text_variance(*pair).value) for pair in pairs if (pair[0].size == pair[1].size) is like), default=0.0
        )
        for like in (True, False)
    }
    several = [own for own in known if len(own.losses) >= 2]
    # Architectures of one size share its seeds' effects: together they know no more of them than one.
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
    """The normal probability of no less than zero."""
    known_PR = sd_PR > _LEAST_SD
    z_PR = np.divide(mean_PR, sd_PR, out=np.zeros_like(mean_PR), where=known_PR)
    return np.asarray(np.where(known_PR, normal_cdf(z_PR), mean_PR >= 0), dtype=np.float64)
