"""Costs that a device was asked for stand on one front only where the device was of one kind.

A search keeps to one kind by itself. Records of two come together where a run was moved, or its tables were: then the
kind that the reference was measured on counts, and what is left out is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record


def comparable(records: Sequence[Record], *, objectives: Sequence[str]) -> list[Record]:
    """The records that may stand beside each other with these objectives: all, or those of the run's one kind."""
    if not any(OBJECTIVES[name].measured for name in objectives if name in OBJECTIVES):
        return list(records)
    kind = _kind(records)
    # One that never reported has no kind, and no costs either.
    return [record for record in records if record.hardware in (kind, "")]


def kinds_sentence(records: Sequence[Record], *, objectives: Sequence[str]) -> str:
    """What a reader must know of the complete records that were left out; empty where none was."""
    kept = {record.trial for record in comparable(records, objectives=objectives)}
    left_out = [record for record in records if record.state == "complete" and record.trial not in kept]
    if not left_out:
        return ""
    others = ", ".join(sorted({record.hardware for record in left_out}))
    return (
        f" {plural(len(left_out), 'complete trial')} ran on {others}: with measured costs they stand on no "
        f"front, where the others were measured on {_kind(records)}."
    )


def _kind(records: Sequence[Record]) -> str:
    finished = [record for record in records if record.state == "complete" and record.hardware]
    for record in finished:
        if record.reference:
            return record.hardware
    return Counter(record.hardware for record in finished).most_common(1)[0][0] if finished else ""
