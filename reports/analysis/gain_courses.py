"""How the difference to plain changes while architectures train: a gain that shrinks may be gone after more tokens.

In our paired trainings most gains of the first fifth were halved at the end, some were gone (`docs/log/fusions.md`).
A difference is of one seed and one number of tokens: the architecture's loss less that of the plain one of the same
depth and budget. Where a confirmation has trained both, its seeds alone count, and their mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import pyarrow as pa

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION, size_of
from depthweave.reports.formatting import full_name
from depthweave.reports.store.objectives import QUALITY, reported_quality
from depthweave.reports.store.records import Record
from depthweave.spaces.plain_names import is_plain_name

_SHRUNK = 0.75
"""A gain below this share of its value halfway has shrunk: a rule of thumb, which noise of one seed may pass too."""


class GainCourse(NamedTuple):
    """The differences to plain of one member of the front."""

    name: str
    fusion: str
    tokens: tuple[int, ...]
    """Ascending; the numbers of tokens at which both were evaluated in all seeds."""
    differences: tuple[float, ...]
    """Mean over seeds, nat/token; below zero it is better than plain."""
    num_seeds: int

    @property
    def halfway(self) -> float:
        """The difference at the first evaluation after half of the tokens or more."""
        return next(
            value for count, value in zip(self.tokens, self.differences, strict=True) if 2 * count >= self.tokens[-1]
        )

    @property
    def has_shrunk(self) -> bool:
        """Whether there was a gain halfway of which a quarter or more is lost."""
        return self.halfway < 0 and self.differences[-1] >= _SHRUNK * self.halfway


def gain_courses(view: RunView) -> list[GainCourse]:
    """Returns the courses of the front's distinct members, plain ones left out, in the front's order.

    Members without a plain training of the same size and seed, or with fewer than two common evaluations, are left out.
    A task whose loss is no likelihood has none.
    """
    if reported_quality(view.objectives) != QUALITY:
        return []
    curves = _curves(view.evaluations)
    complete = [it for it in view.records if it.state == "complete" and it.trial in curves]
    plain = {(size_of(it), it.seed): curves[it.trial] for it in complete if is_plain_name(it.fusion)}
    found = []
    for member in (group.member for group in view.groups):
        if is_plain_name(member.fusion):
            continue
        pairs = [
            (it, plain[size_of(it), it.seed])
            for it in complete
            if it.architecture_id == member.architecture_id and (size_of(it), it.seed) in plain
        ]
        fresh = [pair for pair in pairs if pair[0].trial >= FIRST_CONFIRMATION]
        course = _course(member, [(curves[it.trial], base) for it, base in fresh or pairs])
        if course is not None:
            found.append(course)
    return found


def shrinking_sentence(courses: Sequence[GainCourse]) -> str:
    """Returns how many of the gains have shrunk since halfway, and the one that lost the most."""
    shrunk = [it for it in courses if it.has_shrunk]
    if not shrunk:
        return "No member of the front has lost a quarter or more of its gain over plain since halfway."
    most = max(shrunk, key=lambda it: it.differences[-1] - it.halfway)
    return (
        f"{len(shrunk)} of {len(courses)} distinct members have lost a quarter or more of their gain over plain since "
        f"halfway, most of all {most.name}: {most.halfway:+.3f} halfway, {most.differences[-1]:+.3f} nat/token at the "
        "end. With more tokens the order may be another one; a small gain of one seed may shrink by chance."
    )


def _curves(evaluations: pa.Table) -> dict[int, dict[int, float]]:
    """Returns the finite losses by trial and tokens."""
    columns = evaluations.select(["trial", "tokens", "loss"]).to_pydict()
    curves: dict[int, dict[int, float]] = defaultdict(dict)
    for trial, tokens, loss in zip(columns["trial"], columns["tokens"], columns["loss"], strict=True):
        if loss is not None and math.isfinite(loss):
            curves[trial][tokens] = loss
    return curves


def _course(member: Record, pairs: Sequence[tuple[Mapping[int, float], Mapping[int, float]]]) -> GainCourse | None:
    common = set.intersection(*(set(mine) & set(base) for mine, base in pairs)) if pairs else set()
    if len(common) < 2:
        return None
    tokens = tuple(sorted(common))
    differences = tuple(fmean(mine[count] - base[count] for mine, base in pairs) for count in tokens)
    return GainCourse(full_name(member), member.fusion, tokens, differences, len(pairs))
