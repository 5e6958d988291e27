"""The distinct members of a front: of those that match each other within tolerance one stands for the others.

Axes: P members, O objectives.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.front import front, points_of
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.formatting import plural
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import covers, tolerances_of


class Group(NamedTuple):
    """A distinct member of a front, and its twins."""

    member: Record
    twins: list[Record]
    """The members that it covers, in the front's order."""


def front_groups(
    records: Sequence[Record],
    *,
    objectives: Sequence[str],
    tolerances: Mapping[str, float] | None,
    verdicts: Mapping[str, Verdict],
) -> list[Group]:
    """The distinct members of the records' front with their twins."""
    settled = {key for key, verdict in verdicts.items() if verdict.settled}
    members = front(records, objectives=objectives)
    return grouped(members, objectives=objectives, tolerances=tolerances, settled=settled)


def grouped(
    members: Sequence[Record],
    *,
    objectives: Sequence[str],
    tolerances: Mapping[str, float] | None = None,
    settled: Collection[str] = (),
) -> list[Group]:
    """The distinct members of a front with their twins, by the place of each distinct one in the front.

    Whoever covers the most that is left stands for it; of several that cover the same, one whose place is settled
    (`settled` are ids), then the simplest: fewest connections, fewest states kept.
    """
    if not members:
        return []
    points_PO = points_of(members, objectives=objectives)
    covers_PP = covers(points_PO, points_PO, tolerances_O=list(tolerances_of(objectives, tolerances).values()))
    order = sorted(range(len(members)), key=lambda place: _preference(members[place], settled=settled, place=place))
    left, found = set(range(len(members))), []
    while left:
        # `max` takes the first of equals, which the order prefers.
        widest = max((place for place in order if place in left), key=lambda place: _count(covers_PP[place], left))
        own = {place for place in left if covers_PP[widest, place]}
        chosen = next(place for place in order if place in own and all(covers_PP[place, other] for other in own))
        found.append((chosen, sorted(own - {chosen})))
        left -= own
    return [Group(members[chosen], [members[place] for place in twins]) for chosen, twins in sorted(found)]


def twins_of(groups: Sequence[Group]) -> dict[str, str]:
    """Architecture id to that of the distinct member that stands for it, of all members."""
    return {
        item.architecture_id: group.member.architecture_id for group in groups for item in (group.member, *group.twins)
    }


def distinct_text(groups: Sequence[Group]) -> str:
    """ "8 distinct of 14 members", or "14 members" where none is another's twin."""
    num = sum(1 + len(group.twins) for group in groups)
    whole = plural(num, "member")
    return whole if num == len(groups) else f"{len(groups):,} distinct of {whole}"


def _count(covers_P: NDArray[np.bool_], left: set[int]) -> int:
    return sum(bool(covers_P[place]) for place in left)


def _preference(record: Record, *, settled: Collection[str], place: int) -> tuple[bool, int, int, int]:
    connections = 0 if record.fusion == "none" else sum(len(sources) for _, sources in json.loads(record.wiring))
    return record.architecture_id not in settled, connections, record.kept_states, place
