"""Selects the points that are drawn: a page with all points of a large run would have tens of megabytes."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Sequence

import moocore

from depthweave.reports.analysis.front import front, points_of, value_of
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import family_of_record

MAX_FAINT_POINTS = 1500
"""The most records off the front that a figure shows."""


def thinned(records: Sequence[Record], *, on_front: Collection[int], max_faint: int | None = None) -> list[Record]:
    """Returns the records `on_front`, the reference, and an even choice of at most `max_faint` others (1,500)."""
    limit = MAX_FAINT_POINTS if max_faint is None else max_faint
    kept = {record.trial for record in records if record.trial in on_front or record.reference}
    others = [record.trial for record in records if record.trial not in kept]
    kept.update(others[:: math.ceil(len(others) / limit) or 1])
    return [record for record in records if record.trial in kept]


def ever_on_front(records: Sequence[Record], *, columns: Sequence[str], objectives: Sequence[str]) -> set[int]:
    """Returns the trials on any front that a reader can select: of two columns or of all objectives, with any filter
    of fusions, families of wirings, depths and budgets.

    The front of a union is a subset of the union of the fronts, so the fronts of each (fusion, family, depth, budget)
    are enough. Of trials with equal values in two columns one is enough, because the others are drawn at the same
    point.
    """
    cells: dict[tuple[str, str, int, int | None], list[Record]] = defaultdict(list)
    for record in records:
        if record.state == "complete":
            cells[record.fusion, family_of_record(record), record.depth, record.budget].append(record)
    found: set[int] = set()
    for cell in cells.values():
        found.update(record.trial for record in front(cell, objectives=objectives))
        for pair in itertools.combinations(columns, 2):
            drawn = [record for record in cell if all(value_of(record, name) is not None for name in pair)]
            if drawn:
                on_front = moocore.is_nondominated(points_of(drawn, objectives=pair), keep_weakly=False)
                found.update(record.trial for record, is_member in zip(drawn, on_front, strict=True) if is_member)
    return found
