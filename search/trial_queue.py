"""What a trial ledger asks of its queue: which trial a free worker gets, and whether a running trial keeps its worker.

There are two queues. With `StopOnlyQueue` an Optuna pruner stops trials for good. With `PausedTrials` a chooser pauses
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from depthweave.reports.store.records import Record
from depthweave.search.trials.live_trial import Decision, LiveTrial

Work = LiveTrial | Literal["new"] | None
"""A trial to continue, `NEW` for a trial to start, or nothing for now."""


class TrialQueue(Protocol):
    """The trials without a worker, and the decisions about those with one."""

    @property
    def paused(self) -> list[LiveTrial]:
        """The trials that wait at a rung."""
        ...

    @property
    def num_waiting(self) -> int:
        """Number of the trials that have begun, are not recorded and have no worker."""
        ...

    def restore(self, *, recorded: Iterable[tuple[Record, Sequence[float]]], begun: Iterable[LiveTrial]) -> None:
        """Takes over the trials of an earlier part of the run.

        `recorded` yields each record with the losses of its evaluations. `begun` yields each trial without a record,
        by number; a trial that it has yielded runs in the study. Both do their work as they are read.
        """
        ...

    def add_retry(self, live: LiveTrial) -> None:
        """The trial crashed, and is continued before any other trial."""
        ...

    def add_report(self) -> None:
        """A trial reported. A decision that was made before may change."""
        ...

    def add_record(self, record: Record, losses: Sequence[float]) -> None:
        """A trial is recorded, with the losses of its evaluations."""
        ...

    def decide(self, live: LiveTrial, *, running: Iterable[LiveTrial], may_start: bool) -> Decision:
        """Returns whether a running trial keeps its worker after its latest evaluation. Otherwise it pauses or stops.

        `running` are all trials with a worker. `may_start` is whether another architecture may be started.
        """
        ...

    def pick(self, *, running: Iterable[LiveTrial], may_start: bool) -> Work:
        """Returns what a free worker does next."""
        ...

    def conclude(self) -> list[LiveTrial]:
        """Returns the paused trials that stop for good. Called where nothing runs and `pick` returned `None`.

        After the call `pick` has work, or the queue is done.
        """
        ...

    def is_done(self, *, may_start: bool) -> bool:
        """Returns whether no worker gets a further trial, unless a running trial crashes and is tried again."""
        ...
