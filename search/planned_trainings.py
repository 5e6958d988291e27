"""A ledger of trainings that are all planned before the first one starts: no study chooses them and none is stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable

from depthweave.search.trials.live_trial import Decision, LiveTrial
from depthweave.search.trials.trial import TrialReport


class PlannedTrainings(ABC):
    """Planned and running trainings, by Ray's names for them."""

    def __init__(self, planned: Iterable[LiveTrial], *, workers: int, retries: int) -> None:
        self._planned = deque(planned)
        self._workers, self._retries = workers, retries
        self._live: dict[str, LiveTrial] = {}
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether nothing runs and no further training starts."""
        return not self._live and not self._planned

    def next(self, name: str) -> LiveTrial | None:
        """Returns the next training; `None` where none is left or no worker is free."""
        if self._closed or len(self._live) >= self._workers or not self._planned:
            return None
        live = self._live[name] = self._planned.popleft()
        self.on_start(live)
        return live

    def report(self, name: str, report: TrialReport) -> None:
        """Adds a training's new evaluations."""
        if name in self._live and not self._closed:
            self._live[name].add_report(report)
            self.on_evaluation(self._live[name])

    def decide(self, name: str) -> Decision:
        """Always continues: only the final loss counts."""
        return Decision.CONTINUE

    def fail(self, name: str, error: str, *, node_lost: bool = False) -> None:
        """Adds the reason for which a training crashed."""
        if name in self._live and not self._closed:
            self._live[name].add_crash(error, node_lost=node_lost)

    def finish(self, name: str, *, crashed: bool) -> None:
        """The training ended: keeps its result. A crashed training that may be tried again is next."""
        if name not in self._live or self._closed:
            return
        live = self._live.pop(name)
        if crashed and live.may_retry(self._retries):
            self._planned.appendleft(live)
        else:
            self.keep(live, crashed=crashed)

    def ignore_events(self) -> None:
        """Ignores all further calls."""
        self._closed = True

    def close(self) -> None:
        """Ignores all further calls. Trainings in flight continue when the run is resumed or confirmed again."""
        self.ignore_events()

    @abstractmethod
    def keep(self, live: LiveTrial, *, crashed: bool) -> None:
        """Keeps the result of a training that ended for good."""

    @abstractmethod
    def on_start(self, live: LiveTrial) -> None:
        """A training starts."""

    @abstractmethod
    def on_evaluation(self, live: LiveTrial) -> None:
        """A training made an evaluation."""
