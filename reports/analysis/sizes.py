"""The patterns of a run at several sizes: each one's difference to plain by size, and whether the sizes rank alike.

A difference is that to the plain architecture of the same depth and budget. Fresh seeds count where both architectures
have them (`contrast`). Otherwise the search's own seed gives a difference without an interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from depthweave.reports.analysis.contrast import Contrast, intervals_of, weighted_contrast
from depthweave.reports.analysis.fresh_losses import FreshLosses, contrast_of, fresh_losses_of, text_variance
from depthweave.reports.analysis.intervals import Interval
from depthweave.reports.analysis.rank_agreement import RankVerdict, kendall_tau, rank_verdict, tau_interval
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.size_patterns import Member, PatternKey, members_of
from depthweave.reports.analysis.size_trend import (
    REACH,
    SIZE_VERDICTS,
    SizePoint,
    SizeTrend,
    SizeVerdict,
    judge,
    trend_of,
)
from depthweave.reports.analysis.training_tokens import tokens_per_parameter
from depthweave.reports.wirings import rule_name

_MAX_RANKED = 400
"""Of more patterns, so many are ranked, evenly chosen: the interval takes time with the square of their number."""


class SizeDifference(NamedTuple):
    """A pattern's difference to plain at one size."""

    parameters: int
    """Parameters without the embedding: the budget, where there is one."""
    difference: Interval
    """nat/token, below zero better than plain; over fresh seeds, or without an interval that of the search's seed."""


class SizedPattern(NamedTuple):
    """A pattern at two or more sizes."""

    fusion: str
    name: str
    """ "dwa 4×1", at its smallest depth."""
    depth: int | None
    """Number of blocks at all sizes; `None` where it differs."""
    points: tuple[SizeDifference, ...]
    """One a budget, ascending."""
    slope: Interval | None
    """Change of the difference for each doubling of the parameters; `None` where the variance at a size is unknown."""
    at_reach: Interval | None
    """The difference on the line at `REACH` times the largest size."""
    curvature: Interval | None
    """The second-degree part of three or more sizes."""
    verdict: SizeVerdict
    why: str
    """Why it is not settled."""

    def at(self, parameters: int) -> Interval | None:
        """Returns the difference at a size; `None` where the pattern was not trained at it."""
        return next((it.difference for it in self.points if it.parameters == parameters), None)


class SizeRanks(NamedTuple):
    """Whether two sizes rank the patterns of a fusion alike."""

    fusion: str
    """Empty for the patterns of all fusions and plain."""
    depth: int | None
    smaller: int
    larger: int
    num: int
    """Patterns at both sizes that were ranked."""
    tau: float | None
    low: float | None
    high: float | None
    """Ends of the 95 % interval; `None` with fewer than `MIN_PATTERNS`."""

    @property
    def verdict(self) -> RankVerdict:
        """The conclusion that the interval supports."""
        return rank_verdict(self.low, self.high)


class Sizes(NamedTuple):
    """What a run with several budgets says about them."""

    parameters: tuple[int, ...]
    """The sizes, ascending."""
    tokens_per_parameter: tuple[float, ...]
    """The lowest of the complete records of each size."""
    patterns: list[SizedPattern]
    """Sorted by verdict, then by the difference at their largest size."""
    ranks: list[SizeRanks]
    num_single: int
    """Patterns that were trained at one size only."""

    @property
    def reach(self) -> int:
        """The number of parameters beyond which nothing is claimed."""
        return REACH * self.parameters[-1]


class _Followed(NamedTuple):
    """A pattern before its intervals are known."""

    key: PatternKey
    points: tuple[SizePoint, ...]
    trend: SizeTrend | None


def sizes_of(view: RunView) -> Sizes | None:
    """Returns the sizes of a run; `None` where the plain architecture was trained to its end at one budget only."""
    finished = [it for it in view.averaged if it.state == "complete" and it.loss is not None and math.isfinite(it.loss)]
    members = members_of(finished)
    parameters = tuple(sorted({it.parameters for own in members.values() for it in own}))
    if len(parameters) < 2:
        return None
    fresh = fresh_losses_of(view.records)
    diverged = {it.architecture_id for it in view.records if it.state == "diverged"}
    followed, num_single = [], 0
    for key, own in members.items():
        points = () if key.fusion == "none" else _points(own, fresh=fresh, diverged=diverged)
        if len(points) == 1:
            num_single += 1
        elif points:
            followed.append(_Followed(key, points, trend_of(points)))
    patterns = _with_intervals(followed)
    patterns.sort(
        key=lambda it: (SIZE_VERDICTS.index(it.verdict), it.points[-1].difference.mean, it.name, it.depth or 0)
    )
    return Sizes(
        parameters=parameters,
        tokens_per_parameter=tuple(
            min(tokens_per_parameter(it.record) for own in members.values() for it in own if it.parameters == size)
            for size in parameters
        ),
        patterns=patterns,
        ranks=_ranks(patterns, parameters=parameters),
        num_single=num_single,
    )


def _points(
    members: Sequence[Member], *, fresh: Mapping[str, FreshLosses], diverged: set[str]
) -> tuple[SizePoint, ...]:
    """Returns the difference at each size. Several depths of one size are averaged."""
    by_size: dict[int, list[SizePoint]] = defaultdict(list)
    for member in members:
        by_size[member.parameters].append(_point(member, fresh=fresh, diverged=diverged))
    return tuple(_mean_point(by_size[parameters]) for parameters in sorted(by_size))


def _point(member: Member, *, fresh: Mapping[str, FreshLosses], diverged: set[str]) -> SizePoint:
    own, plain = member.record, member.plain
    mine, theirs = fresh.get(own.architecture_id), fresh.get(plain.architecture_id)
    assert own.loss is not None
    assert plain.loss is not None
    num_diverged = len({own.architecture_id, plain.architecture_id} & diverged)
    if mine is not None and theirs is not None and (found := contrast_of(mine, theirs)) is not None:
        return SizePoint(member.parameters, float(found.mean), found, text_variance(mine, theirs), num_diverged)
    return SizePoint(member.parameters, own.loss - plain.loss, num_diverged=num_diverged)


def _mean_point(points: Sequence[SizePoint]) -> SizePoint:
    if len(points) == 1:
        return points[0]
    contrasts: list[Contrast] = [it.contrast for it in points if it.contrast is not None]
    whole = None
    weights = [1 / len(points)] * len(points)
    if len(contrasts) == len(points):
        whole = weighted_contrast(contrasts, texts=[it.text for it in points], weights=weights)
    return points[0]._replace(
        mean=float(np.mean([it.mean for it in points])),
        contrast=whole,
        num_diverged=sum(it.num_diverged for it in points),
    )


def _with_intervals(followed: Sequence[_Followed]) -> list[SizedPattern]:
    """Returns the patterns with their verdicts and intervals, computed together: one by one they take seconds."""
    contrasts: list[Contrast] = []
    for own in followed:
        contrasts += [it.contrast for it in own.points if it.contrast is not None]
        contrasts += [it for it in _shown(own.trend) if it is not None]
    intervals = iter(intervals_of(contrasts))
    patterns = []
    for own in followed:
        points = tuple(
            SizeDifference(it.parameters, Interval(1, it.mean, None) if it.contrast is None else next(intervals))
            for it in own.points
        )
        slope, at_reach, curvature = (None if it is None else next(intervals) for it in _shown(own.trend))
        judged = judge(own.points, own.trend)
        patterns.append(
            SizedPattern(
                fusion=own.key.fusion,
                name=f"{own.key.fusion} {rule_name(own.key.rule)}".strip(),
                depth=own.key.depth,
                points=points,
                slope=slope,
                at_reach=at_reach,
                curvature=curvature,
                verdict=judged.verdict,
                why=judged.why,
            )
        )
    return patterns


def _shown(trend: SizeTrend | None) -> tuple[Contrast | None, Contrast | None, Contrast | None]:
    return (None, None, None) if trend is None else (trend.slope, trend.beyond, trend.curvature)


def _ranks(patterns: Sequence[SizedPattern], *, parameters: Sequence[int]) -> list[SizeRanks]:
    """Returns the agreement of each smaller size with the largest, for each fusion and for all."""
    found = []
    for depth in sorted({it.depth for it in patterns}, key=lambda own: own or 0):
        own = [it for it in patterns if it.depth == depth]
        for fusion in (*sorted({it.fusion for it in own}), ""):
            for smaller in parameters[:-1]:
                values = [
                    (first.mean, second.mean)
                    for it in own
                    if fusion in (it.fusion, "")
                    and (first := it.at(smaller)) is not None
                    and (second := it.at(parameters[-1])) is not None
                ]
                # Plain is a pattern too, of no difference.
                values += [] if fusion or not values else [(0.0, 0.0)]
                if len(values) < 2:
                    continue
                if len(values) > _MAX_RANKED:
                    places = np.linspace(0, len(values) - 1, _MAX_RANKED).round().astype(int)
                    values = [values[place] for place in places]
                first_U, second_U = np.array(values).T
                low, high = tau_interval(first_U, second_U) or (None, None)
                tau = kendall_tau(first_U, second_U)
                found.append(SizeRanks(fusion, depth, smaller, parameters[-1], len(values), tau, low, high))
    return found
