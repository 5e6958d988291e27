"""The distinct members of a front: members that are ahead of one by no more than the tolerances are its twins.

Axes: P members, O objectives.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.front import points_of
from depthweave.reports.formatting import plural
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import covers, tolerances_of
from depthweave.spaces.plain_names import is_plain_name


class Group(NamedTuple):
    """A distinct member of a front, and its twins."""

    member: Record
    twins: list[Record]
    """The members that it covers, in the front's order."""


def grouped(
    members: Sequence[Record],
    *,
    objectives: Sequence[str],
    tolerances: Mapping[str, float] | None = None,
    settled: Collection[str] = (),
) -> list[Group]:
    """Returns the distinct members of a front with their twins, in the order of the front.

    Groups are formed one after another, each around the member that covers the most remaining ones. Of the members
    that cover the whole group, a settled one represents it (`settled` holds ids), otherwise the simplest: the one with
    the fewest connections, then with the fewest kept states.
    """
    if not members:
        return []
    points_PO = points_of(members, objectives=objectives)
    covers_PP = covers(points_PO, points_PO, tolerances_O=list(tolerances_of(objectives, tolerances).values()))
    order = sorted(range(len(members)), key=lambda index: _preference(members[index], settled=settled, index=index))
    left, groups = set(range(len(members))), []
    while left:
        # Of equal ones `max` takes the first, which is the preferred one.
        widest = max((index for index in order if index in left), key=lambda index: _count(covers_PP[index], left))
        own = {index for index in left if covers_PP[widest, index]}
        chosen = next(index for index in order if index in own and all(covers_PP[index, other] for other in own))
        groups.append((chosen, sorted(own - {chosen})))
        left -= own
    return [Group(members[chosen], [members[index] for index in twins]) for chosen, twins in sorted(groups)]


def twins_of(groups: Sequence[Group]) -> dict[str, str]:
    """Maps the architecture id of each member to that of the distinct member that represents it."""
    return {
        item.architecture_id: group.member.architecture_id for group in groups for item in (group.member, *group.twins)
    }


def distinct_text(groups: Sequence[Group]) -> str:
    """Returns "8 distinct of 14 members", or "14 members" where there are no twins."""
    num = sum(1 + len(group.twins) for group in groups)
    whole = plural(num, "member")
    return whole if num == len(groups) else f"{len(groups):,} distinct of {whole}"


def _count(covers_P: NDArray[np.bool_], left: set[int]) -> int:
    return sum(bool(covers_P[index]) for index in left)


def _preference(record: Record, *, settled: Collection[str], index: int) -> tuple[bool, int, int, int]:
    connections = 0 if is_plain_name(record.fusion) else sum(len(sources) for _, sources in json.loads(record.wiring))
    return record.architecture_id not in settled, connections, record.kept_states, index
