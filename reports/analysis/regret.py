"""Pruning regret: what the front gains from trials that the pruner gave up and that ran to the end as an audit.

The records alone do not show whether a pruner is wrong, because a stopped trial has no final loss. So a random share of
the trials that it gives up runs to the end, and the front with them is compared with the front without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from depthweave.reports.analysis.front import complete, front, hypervolume_frac, points_of, reference_point
from depthweave.reports.formatting import plural
from depthweave.reports.store.records import Record

_RISK = 0.05
_CONFIDENCE = "95 % confidence"
_LITTLE_FRAC = 0.2
"""A bound above this share of the trials is called weak."""


class Regret(NamedTuple):
    """The result of an audit of the pruner."""

    num_given_up: int
    """Trials that the pruner gave up, audited ones included."""
    num_audited: int
    """Trials among them that were trained to the end as an audit."""
    num_on_front: int
    """Audited trials on the front."""
    gained_frac: float
    """Share of the front's hypervolume that the audited trials add."""

    @property
    def most(self) -> int:
        """Upper bound, with 95 % confidence, on the trials given up that would have reached the front."""
        return most_marked(self.num_given_up, drawn=self.num_audited, found=self.num_on_front)


def pruning_regret(records: Sequence[Record], *, objectives: Sequence[str]) -> Regret | None:
    """Returns the pruning regret of a search; `None` where no audited trial is complete."""
    finished = complete(records, objectives=objectives)
    audited = {record.trial for record in finished if record.audit}
    if not audited:
        return None
    points = points_of(finished, objectives=objectives)
    ideal, corner = points.min(axis=0), reference_point(points)

    def volume(kept: list[Record]) -> float:
        return hypervolume_frac(points_of(kept, objectives=objectives), ideal=ideal, reference=corner)

    whole = volume(finished)
    return Regret(
        num_given_up=len(audited) + sum(record.state == "pruned" for record in records),
        num_audited=len(audited),
        num_on_front=sum(record.trial in audited for record in front(finished, objectives=objectives)),
        gained_frac=1.0 - volume([record for record in finished if record.trial not in audited]) / whole,
    )


def most_marked(total: int, *, drawn: int, found: int) -> int:
    """Returns the upper bound, with 95 % confidence, on the marked items among `total`.

    `found` of the `drawn` items were marked. With more marked items, so few would be found in under one of twenty
    draws.
    """
    if not 0 <= found <= drawn <= total:
        raise ValueError(f"most_marked: {found} found of {drawn} drawn of {total}: each is at most the next")
    ways = math.comb(total, drawn)
    for marked in range(total - (drawn - found), found, -1):
        few = range(max(0, drawn - (total - marked)), found + 1)
        if sum(math.comb(marked, item) * math.comb(total - marked, drawn - item) for item in few) > _RISK * ways:
            return marked
    return found


def regret_sentence(regret: Regret | None) -> str:
    """Returns the result of the audit and its confidence in words; empty where there was no audit."""
    if regret is None:
        return ""
    text = (
        f" Audit of the pruner: of {plural(regret.num_given_up, 'trial')} that it gave up, "
        f"{regret.num_audited:,}, drawn at random, ran to the end; "
    )
    if not regret.num_on_front:
        text += "none of them reached the front."
    else:
        text += (
            f"{regret.num_on_front:,} of them reached the front, which has {100 * regret.gained_frac:.2g} % of its "
            "hypervolume from them: the pruner was wrong there."
        )
    return f"{text} {_bound_sentence(regret)}"


def _bound_sentence(regret: Regret) -> str:
    left = regret.num_given_up - regret.num_audited
    if not left:
        return "All of them ran to the end, so nothing is unknown."
    more = regret.most - regret.num_on_front
    text = f"Of the {left:,} that did not, up to {more:,} may have belonged there ({_CONFIDENCE}"
    share = more / left
    if share > _LITTLE_FRAC:
        return f"{text}): no tighter bound follows from {plural(regret.num_audited, 'audited trial')}."
    return f"{text}), {100 * share:.0f} %."
