"""Front members with other wirings than dilation and period, each beside its strided rival.

The strided rival is the architecture with dilation and period that has the best quality among those that are not
distinguishably costlier than the member, of any fusion. Where the member is ahead of it, the other wiring pays. A
confirmation trains both with the same fresh seeds.
"""

from __future__ import annotations

from typing import NamedTuple

from depthweave.reports.analysis.front import end_of, value_of
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.summary import FreshDifference, fresh_difference
from depthweave.reports.formatting import listed, plural
from depthweave.reports.store.objectives import OBJECTIVES, quality_names, reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import tolerances_of
from depthweave.reports.wirings import marker_of


class StridedRival(NamedTuple):
    """A distinct member of the front with another wiring, and its rival."""

    member: Record
    rival: Record
    difference: FreshDifference | None
    """The member's loss less the rival's over fresh seeds; `None` where either has fewer than two."""


def strided_rivals(view: RunView) -> list[StridedRival]:
    """Returns the distinct members with other wirings that have a rival, in the order of the front."""
    strided = [it for it in view.candidates if isinstance(marker_of(it), int)]
    quality = reported_quality(view.objectives)
    found = []
    for member in (group.member for group in view.groups if marker_of(group.member) == "other"):
        rivals = [it for it in strided if not _costlier(it, member, view=view)]
        if rivals:
            rival = min(rivals, key=lambda it: (value_of(it, quality), it.trial))
            ids = {"first": member.architecture_id, "second": rival.architecture_id}
            found.append(StridedRival(member, rival, fresh_difference(view.records, **ids)))
    return found


def rivals_sentences(view: RunView) -> list[str]:
    """Returns a sentence on whether other wirings are ahead of dilation and period at their cost; none without any."""
    num_members = sum(marker_of(group.member) == "other" for group in view.groups)
    if not num_members:
        return []
    rivals = strided_rivals(view)
    settled = [it.difference.interval.mean for it in rivals if it.difference is not None and it.difference.settled]
    ahead, behind = sum(mean < 0 for mean in settled), sum(mean > 0 for mean in settled)
    left = len(rivals) - ahead - behind
    without = num_members - len(rivals)
    counted = {
        "ahead": ahead,
        "behind": behind,
        "not settled": left,
        "without such a rival": without,
    }
    parts = [f"{number} {_are(number)} {what}" for what, number in counted.items() if number or what == "ahead"]
    return [
        f"{plural(num_members, 'distinct member')} of the front {_have(num_members)} another wiring than dilation × "
        f"period. Against the best with dilation × period that is not distinguishably costlier, {listed(parts)}."
    ]


def _costlier(rival: Record, member: Record, *, view: RunView) -> bool:
    """Returns whether a cost of the rival is above the member's: beyond its interval, or beyond the tolerance."""
    qualities = quality_names(view.objectives)
    for name, tolerance in tolerances_of(view.objectives, view.tolerances).items():
        low, high = end_of(rival, name, "low"), end_of(member, name, "high")
        if name in qualities or low is None or high is None:
            continue
        if low > high * (1.0 if OBJECTIVES[name].timed else 1.0 + tolerance):
            return True
    return False


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
