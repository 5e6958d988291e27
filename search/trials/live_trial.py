"""A trial in flight, who listens to it, and what Ray's searcher and scheduler ask of a ledger of such trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from depthweave.reports.store.records import Record
from depthweave.search.trials.previous_ending import PreviousEnding
from depthweave.search.trials.trial import TrialReport
from depthweave.spaces.space import Candidate
from depthweave.trainers import Evaluation

_MAX_NODES_LOST = 3
"""Nodes that a trial may lose without an evaluation in between."""


class Decision(Enum):
    """What becomes of a running trial after an evaluation."""

    CONTINUE = "continue"
    PAUSE = "pause"
    """It leaves its worker, and may continue later."""
    STOP = "stop"
    """It ends for good."""


@dataclass(kw_only=True)
class LiveTrial:
    """A trial from its first worker to its record, its pauses included."""

    number: int
    candidate: Candidate
    started_at: datetime
    seed: int | None = None
    """Of weights and data order; the recipe's where absent."""
    learning_rate: float | None = None
    """The run's rate for its architecture where absent."""
    last_report: TrialReport | None = None
    """Without its evaluations."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Objectives known before training, by name; empty until measured."""
    evaluations: list[Evaluation] = field(default_factory=list)
    paused: bool = False
    """Whether it waits at a rung, or continues after a pause. Continuing after a pause is no new attempt."""
    audit: bool = False
    """Whether it trains to its end only to show what stopping it would have lost."""
    previous_ending: PreviousEnding | None = None
    """How it ended before, where it is trained again."""
    stop_reason: str | None = None
    error: str | None = None
    crashes: int = 0
    """Of workers, in this part of the run."""
    excused: int = 0
    """Crashes that the trial did not cause: its node was lost."""
    _nodes_lost: int = 0
    """Since its last evaluation."""

    def add_report(self, report: TrialReport) -> list[Evaluation]:
        """Adds a report, and returns the evaluations in it that are new."""
        self.last_report = dataclasses.replace(report, evaluations=())
        known = {item.index: item for item in self.evaluations}
        # A worker that continues a trial reports all evaluations again, with the weights that a pause has dropped.
        self.evaluations = list((known | {item.index: item for item in report.evaluations}).values())
        new = [item for item in report.evaluations if item.index not in known]
        if new:
            self._nodes_lost = 0
        return new

    def add_crash(self, error: str, *, node_lost: bool) -> None:
        """Adds the reason for which the trial's worker ended."""
        self.error = error
        self.crashes += 1
        self._nodes_lost = self._nodes_lost + 1 if node_lost else 0
        # A trial that loses one node after another may be the cause.
        self.excused += 0 < self._nodes_lost <= _MAX_NODES_LOST

    def may_retry(self, retries: int) -> bool:
        """Returns whether it is tried again after a crash. A retry is a new attempt, also after a pause."""
        self.paused = False
        return self.crashes - self.excused <= retries

    @property
    def end_is_known(self) -> bool:
        """Whether it ends where it ended before its record was lost. The pruner is not asked."""
        return self.previous_ending is not None and self.previous_ending.state != "failed"

    def stops_as_before(self) -> bool:
        """Returns whether it was stopped here before its record was lost."""
        before = self.previous_ending
        if before is None or before.state != "pruned" or len(self.evaluations) < before.num_evaluations:
            return False
        self.stop_reason = before.reason or f"stopped by the pruner after evaluation {before.num_evaluations}"
        return True

    def drop_weights(self) -> None:
        """Frees the memory of the connection weights while the trial is paused: its checkpoint has them."""
        self.evaluations = [dataclasses.replace(item, weights=()) for item in self.evaluations]


class Listener(Protocol):
    """Follows the trials of a search. Nothing it does changes the search."""

    def on_start(self, live: LiveTrial) -> None:
        """A worker got a trial, to begin it or to continue it."""

    def on_pause(self, live: LiveTrial) -> None:
        """A trial waits at a rung, and may continue or stop."""

    def on_evaluation(self, live: LiveTrial) -> None:
        """A trial reported."""

    def on_finish(self, record: Record) -> None:
        """A trial ended and is recorded."""


class Progress(Listener, Protocol):
    """A listener that also follows the run as a whole."""

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        """Trials are about to start. `records` are those of an earlier part of the run."""

    def on_tick(self) -> None:
        """Time has passed."""

    def on_phase(self, text: str) -> None:
        """Something else than trials begins."""

    def on_note(self, text: str) -> None:
        """A line that is still shown at the end of the run."""


class Ledger(Protocol):
    """What Ray's searcher and scheduler need: the ledger of a search, or of a confirmation.

    `name` is Ray's name for a trial.
    """

    @property
    def ended(self) -> bool:
        """Whether nothing runs and no further trial starts or continues."""

    def next(self, name: str) -> LiveTrial | None:
        """Returns the next trial, which then runs under this name; `None` where no trial is to run now."""

    def report(self, name: str, report: TrialReport) -> None:
        """Adds a trial's report."""

    def decide(self, name: str) -> Decision:
        """Returns whether the trial continues, pauses or stops after its latest evaluation."""

    def fail(self, name: str, error: str, *, node_lost: bool) -> None:
        """Adds the reason for which a trial's worker crashed, or was lost with its node."""

    def finish(self, name: str, *, crashed: bool) -> None:
        """The trial ended. A trial that crashed may run again."""

    def ignore_events(self) -> None:
        """Ignores all further calls. May be called at any moment, also by a signal handler."""

    def close(self) -> None:
        """Ignores all further calls. Trials in flight wait for the run to be resumed."""
