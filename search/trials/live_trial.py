"""A trial in flight, and who hears of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from depthweave.reports.store.records import Record
from depthweave.search.study.reopening import PreviousEnding
from depthweave.search.trials.trial import TrialReport
from depthweave.spaces.space import Candidate
from depthweave.trainers import Evaluation

_MAX_LOST_IN_TURN = 3
"""Nodes that a trial may lose without an evaluation in between."""


@dataclass(kw_only=True)
class LiveTrial:
    """A trial from being given to a worker to being recorded, its pauses included."""

    number: int
    candidate: Candidate
    started_at: datetime
    seed: int | None = None
    """Of weights and data order; the recipe's where absent."""
    last_report: TrialReport | None = None
    """Less its evaluations."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """Objectives known before training, by name; empty until measured."""
    evaluations: list[Evaluation] = field(default_factory=list)
    paused: bool = False
    """Whether it waits at a rung, or went on from one: that is no new attempt."""
    audit: bool = False
    """Whether it runs to its end only to show what its stop would have lost."""
    again: PreviousEnding | None = None
    """How it had ended before, where it is trained once more."""
    stop_reason: str | None = None
    error: str | None = None
    crashes: int = 0
    """Of workers, in this part of the run."""
    excused: int = 0
    """Crashes that were none of the trial's doing: its node was lost."""
    _lost_in_turn: int = 0

    def hear(self, report: TrialReport) -> list[Evaluation]:
        """Enter a report and answer the evaluations in it that are new."""
        self.last_report = dataclasses.replace(report, evaluations=())
        known = {item.index: item for item in self.evaluations}
        # A trial that goes on hands over all again, and what was laid aside comes back.
        self.evaluations = list((known | {item.index: item for item in report.evaluations}).values())
        new = [item for item in report.evaluations if item.index not in known]
        if new:
            self._lost_in_turn = 0
        return new

    def crash(self, error: str, *, node_lost: bool) -> None:
        """Enter why the trial's worker ended."""
        self.error = error
        self.crashes += 1
        self._lost_in_turn = self._lost_in_turn + 1 if node_lost else 0
        # A trial under which one node after the other goes down may well be the cause.
        self.excused += 0 < self._lost_in_turn <= _MAX_LOST_IN_TURN

    def may_retry(self, retries: int) -> bool:
        """Whether it is tried again after a crash; a retry is a new attempt, also after a pause."""
        self.paused = False
        return self.crashes - self.excused <= retries

    @property
    def end_is_known(self) -> bool:
        """Whether it ends where it had ended before its record was lost. The pruner is not asked."""
        return self.again is not None and self.again.state != "failed"

    def stops_as_before(self) -> bool:
        """Whether it was stopped here before its record was lost."""
        again = self.again
        if again is None or again.state != "pruned" or len(self.evaluations) < again.num_evaluations:
            return False
        self.stop_reason = again.reason or f"stopped by the pruner after evaluation {again.num_evaluations}"
        return True

    def drop_weights(self) -> None:
        """Free the memory of the connection weights while the trial is paused: they are in its checkpoint."""
        self.evaluations = [dataclasses.replace(item, weights=()) for item in self.evaluations]


class Listener(Protocol):
    """Hears of a search as it goes; nothing it does changes the search."""

    def on_start(self, live: LiveTrial) -> None:
        """A trial was given to a worker, to begin or to go on."""

    def on_pause(self, live: LiveTrial) -> None:
        """A trial waits at a rung, and may go on or be stopped."""

    def on_evaluation(self, live: LiveTrial) -> None:
        """A trial reported."""

    def on_finish(self, record: Record) -> None:
        """A trial ended and is recorded."""


class Progress(Listener, Protocol):
    """A listener that also hears of the run as a whole."""

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        """Trials are about to start; `records` are those of an earlier part of the run."""

    def on_tick(self) -> None:
        """Time has passed."""

    def on_phase(self, text: str) -> None:
        """Something else than trials begins."""

    def on_note(self, text: str) -> None:
        """A line that the user should find at the end still."""


class Ledger(Protocol):
    """What Ray's searcher and scheduler ask of whoever keeps the trials: the book of a search, or of a confirmation."""

    @property
    def ended(self) -> bool:
        """Whether nothing runs and no further trial will be asked for."""

    def next(self, name: str) -> LiveTrial | None:
        """The next trial, entered under the executor's name for it; `None` where none is to be started now."""

    def report(self, name: str, report: TrialReport) -> None:
        """A trial reports."""

    def stops(self, name: str) -> bool:
        """Whether the trial is to be stopped now."""

    def fail(self, name: str, error: str, *, node_lost: bool) -> None:
        """A trial's worker crashed, or was lost with its node."""

    def finish(self, name: str, *, crashed: bool) -> None:
        """A trial ended; one that crashed may be given out again."""

    def ignore_events(self) -> None:
        """Nothing more is heard; may be called at any moment, by a signal's handler too."""

    def close(self) -> None:
        """Nothing more is heard; trials in flight wait for the run to be continued."""
