"""Which of two fronts is ahead in the objectives that can be compared: coverage and hypervolume.

The coverage of B by A is the share of B's front that some member of A's front matches or beats in every objective. A's
front dominates B's if it covers all of it and is not fully covered itself. This is settled if it also holds with every
value of A at the unfavourable end of its 95 % interval and every value of B at the favourable end.

Source: coverage after Zitzler and Thiele, "Multiobjective evolutionary algorithms", 1999.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.front import complete, end_of, front, hypervolume_frac, points_of, reference_point
from depthweave.reports.analysis.verdicts import Verdict, verdicts_of
from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record


class Dominance(NamedTuple):
    """The comparison of two fronts. A pair of values has the first run's and the second's."""

    objectives: tuple[str, ...]
    sizes: tuple[int, int]
    """Members of each front."""
    coverage: tuple[float, float]
    """Share of the other's front that each covers, 0 to 1."""
    hypervolume: tuple[float, float]
    """The share of each front in the box from both runs' best values to beyond their worst."""
    verdict: Literal["first", "second", "equal", "neither"]
    """Whose front dominates the other."""
    settled: bool
    """Whether the verdict holds at all ends of the intervals; false if neither dominates."""


def dominance_of(first: Sequence[Record], second: Sequence[Record], *, objectives: Sequence[str]) -> Dominance:
    """Compares the fronts in these objectives. Each run must have a complete record with all of them."""
    runs = (first, second)
    members = [front(run, objectives=objectives) for run in runs]
    points = [points_of(own, objectives=objectives) for own in members]
    everything = np.concatenate(
        [points_of(complete(run, objectives=objectives), objectives=objectives) for run in runs]
    )
    ideal, corner = everything.min(axis=0), reference_point(everything)
    coverage = (covered_frac(points[0], points[1]), covered_frac(points[1], points[0]))
    verdict: Literal["first", "second", "equal", "neither"] = "neither"
    if coverage[0] == coverage[1] == 1:
        verdict = "equal"
    elif 1 in coverage:
        verdict = "first" if coverage[0] == 1 else "second"
    settled = False
    if verdict in ("first", "second"):
        winner = 0 if verdict == "first" else 1
        verdicts = [verdicts_of(run, objectives=objectives) for run in runs]
        worst = _at_ends(members[winner], verdicts[winner], objectives=objectives, end="high")
        best = _at_ends(members[1 - winner], verdicts[1 - winner], objectives=objectives, end="low")
        settled = worst is not None and best is not None and covered_frac(worst, best) == 1
    volumes = [hypervolume_frac(own, ideal=ideal, reference=corner) for own in points]
    return Dominance(
        objectives=tuple(objectives),
        sizes=(len(members[0]), len(members[1])),
        coverage=coverage,
        hypervolume=(volumes[0], volumes[1]),
        verdict=verdict,
        settled=settled,
    )


def covered_frac(by: NDArray[np.float64], of: NDArray[np.float64]) -> float:
    """Returns the share of the points `of`, `[points, objectives]`, that some point of `by` matches or beats in all."""
    if not len(of):
        return 0.0
    return float((by[:, None, :] <= of[None, :, :]).all(axis=2).any(axis=0).mean())


def _at_ends(
    members: Sequence[Record],
    verdicts: Mapping[str, Verdict],
    *,
    objectives: Sequence[str],
    end: Literal["low", "high"],
) -> NDArray[np.float64] | None:
    """Returns the members' values at that end of their intervals; `None` if a loss has one seed and so no interval."""
    rows = []
    for member in members:
        row = [_end(member, verdicts.get(member.architecture_id), name=name, end=end) for name in objectives]
        if any(value is None for value in row):
            return None
        rows.append(row)
    return np.array(rows, dtype=np.float64)


def _end(member: Record, verdict: Verdict | None, *, name: str, end: Literal["low", "high"]) -> float | None:
    value = float(column_value(member, name))
    if not OBJECTIVES[name].cost:
        loss = None if verdict is None else getattr(verdict.loss, end)
        if loss is None or verdict is None:
            return None
        return OBJECTIVES[name].at_loss(loss, value=value, mean=verdict.loss.mean)
    return end_of(member, name, end)
