"""A search or confirmation without results: its exit code, and a line with the cause."""

from __future__ import annotations

from collections.abc import Sequence

from depthweave.reports.store.records import Record
from depthweave.search.failures.causes import is_same_cause

EXIT_NO_RESULTS = 1
"""Exit code when trials ended and none was trained to its end."""


def has_no_results(records: Sequence[Record]) -> bool:
    """Returns whether there are records and none is complete."""
    return bool(records) and all(item.state != "complete" for item in records)


def no_results_sentence(records: Sequence[Record]) -> str:
    """Returns what happened to the trials, with the most frequent cause."""
    reasons = [item.reason or item.state for item in records if item.state in ("failed", "diverged")]
    if not reasons:
        return f"none of {len(records)} trials was trained to its end"
    counts = [sum(is_same_cause(item, other) for other in reasons) for item in reasons]
    most = max(counts)
    how = "all of one cause" if most == len(records) else f"{most} of one cause"
    return f"no trial of {len(records)} is complete, {len(reasons)} failed, {how}: {reasons[counts.index(most)]}"
