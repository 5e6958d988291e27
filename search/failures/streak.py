"""Failures of one cause in a row, which are more likely the fault of the machine or the recipe than of each trial."""

from __future__ import annotations

from depthweave.reports.store.records import Record
from depthweave.search.failures.causes import is_same_cause

LIMIT = 5
"""Failed trials in a row that end the search."""


class OneCauseError(Exception):
    """`count` trials in a row failed of one cause."""

    def __init__(self, reason: str, *, count: int) -> None:
        super().__init__(reason)
        self.reason, self.count = reason, count


class Streak:
    """Counts the trials that failed in a row, in this part of a run."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._reason: str | None = None
        self._count = 0

    def add(self, record: Record) -> None:
        """Adds a recorded trial. Raises `OneCauseError` where the limit is reached."""
        if record.state != "failed":
            self._reason, self._count = None, 0
            return
        reason = record.reason or ""
        same = self._reason is not None and is_same_cause(reason, self._reason)
        self._reason, self._count = reason, self._count + 1 if same else 1
        if self._count >= self._limit:
            raise OneCauseError(reason, count=self._count)
