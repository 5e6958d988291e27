"""The queue of a search without a chooser: an Optuna pruner stops trials for good, and no trial pauses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from depthweave.reports.store.records import Record
from depthweave.search.pruners.chooser import NEW
from depthweave.search.study.studies import Studies
from depthweave.search.trial_queue import Work
from depthweave.search.trials.live_trial import Decision, LiveTrial


class StopOnlyQueue:
    """Starts new trials while it may. The pruner of the studies decides which trials stop."""

    def __init__(self, studies: Studies) -> None:
        self._studies = studies
        self._retries: deque[LiveTrial] = deque()

    @property
    def paused(self) -> list[LiveTrial]:
        """Always empty."""
        return []

    @property
    def num_waiting(self) -> int:
        """Number of the crashed trials that are to be tried again."""
        return len(self._retries)

    def restore(self, *, recorded: Iterable[tuple[Record, Sequence[float]]], begun: Iterable[LiveTrial]) -> None:
        """Takes over nothing: the study holds the trials, and returns a waiting one before it samples a new one."""

    def add_retry(self, live: LiveTrial) -> None:
        """The trial crashed, and is continued before any other trial."""
        self._retries.append(live)

    def add_report(self) -> None:
        """Nothing to do: the pruner reads the study."""

    def add_record(self, record: Record, losses: Sequence[float]) -> None:
        """Nothing to do: the pruner reads the study."""

    def decide(self, live: LiveTrial, *, running: Iterable[LiveTrial], may_start: bool) -> Decision:
        """Stops the trial where the pruner says so."""
        if self._studies.should_stop(live.number):
            live.stop_reason = f"stopped by the pruner after evaluation {len(live.evaluations)}"
        return Decision.CONTINUE if live.stop_reason is None else Decision.STOP

    def pick(self, *, running: Iterable[LiveTrial], may_start: bool) -> Work:
        """Returns a crashed trial first, then a new one."""
        if self._retries:
            return self._retries.popleft()
        return NEW if may_start else None

    def conclude(self) -> list[LiveTrial]:
        """Always empty: nothing pauses."""
        return []

    def is_done(self, *, may_start: bool) -> bool:
        """Returns whether nothing is to be tried again and nothing may start."""
        return not self._retries and not may_start
