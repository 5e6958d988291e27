"""Keeps costs that were measured on different kinds of devices off one front.

A search measures on one kind of device. Records of several kinds come together where a run, or its tables, were moved.
Then the kind that the reference was measured on counts, and a sentence says what is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record


def comparable(records: Sequence[Record], *, objectives: Sequence[str]) -> list[Record]:
    """Returns the records that may be on one front: all, or those of one kind of device where a cost is measured."""
    if not any(OBJECTIVES[name].measured for name in objectives if name in OBJECTIVES):
        return list(records)
    kind = _kind(records)
    # A trial that never reported has no kind of device, and no costs either.
    return [record for record in records if record.hardware in (kind, "")]


def kinds_sentence(records: Sequence[Record], *, objectives: Sequence[str]) -> str:
    """Returns a sentence on the complete records that were left out; empty where none was."""
    kept = {record.trial for record in comparable(records, objectives=objectives)}
    left_out = [record for record in records if record.state == "complete" and record.trial not in kept]
    if not left_out:
        return ""
    others = ", ".join(sorted({record.hardware for record in left_out}))
    return (
        f" {plural(len(left_out), 'complete trial')} ran on {others}: with measured costs they are on no "
        f"front, because the others were measured on {_kind(records)}."
    )


def _kind(records: Sequence[Record]) -> str:
    finished = [record for record in records if record.state == "complete" and record.hardware]
    for record in finished:
        if record.reference:
            return record.hardware
    return Counter(record.hardware for record in finished).most_common(1)[0][0] if finished else ""
