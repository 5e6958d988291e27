"""How a trial ended before it was reopened."""

from __future__ import annotations

from typing import Literal, NamedTuple

from depthweave.reports.store.records import Record

EndState = Literal["complete", "pruned", "failed"]


class PreviousEnding(NamedTuple):
    """How a reopened trial ended before."""

    state: EndState
    """A complete trial is trained to its end again, a pruned one up to the evaluation at which it was pruned."""
    num_evaluations: int = 0
    """Evaluations that it had reported."""
    reason: str | None = None
    """Why it was stopped or failed."""
    superseded: str | None = None
    """End time of the record that the new one replaces; `None` without such a record."""

    @classmethod
    def of(cls, record: Record) -> PreviousEnding:
        """Returns the ending of a failed trial from its record."""
        return cls("failed", reason=record.reason, superseded=record.finished_at.isoformat())
