"""Counts and rates of a running search, which its displays share."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.front import complete, front, hypervolume_frac, points_of, reference_point
from depthweave.reports.store.objectives import OBJECTIVES, column_value, quality_names
from depthweave.reports.store.records import Record
from depthweave.search.trials.live_trial import LiveTrial


@dataclass(kw_only=True)
class Tally:
    """Counts and rates of a search so far, updated at every event so that no display has to count again."""

    objectives: tuple[str, ...]
    max_trials: int = 0
    workers: int = 0
    records: list[Record] = field(default_factory=list)
    running: dict[int, LiveTrial] = field(default_factory=dict)
    paused: dict[int, LiveTrial] = field(default_factory=dict)
    started: float = 0.0
    """When this part of the run began, by the monotonic clock."""
    before: int = 0
    """Number of records from earlier parts of the run."""
    best: tuple[str, float] | None = field(init=False, default=None)
    """The quality column of the task and its lowest value among the complete trials."""
    _states: Counter[str] = field(init=False, default_factory=Counter)
    _tokens: int = field(init=False, default=0)
    """Tokens that the ended trials of this part were trained on."""
    _num_taken_over: int = field(init=False, default=0)
    """Records of other runs, which are no trials of this one."""
    _members: list[Record] = field(init=False, default_factory=list)
    """The front of all records."""
    _span: NDArray[np.float64] = field(init=False)
    """Best and worst value of each objective over the complete records, shape `[2, objectives]`."""

    def __post_init__(self) -> None:
        self._span = np.empty((0, len(self.objectives)))
        given, self.records = self.records, []
        for record in given:
            self.add(record)

    def add(self, record: Record) -> None:
        """Counts the record of an ended trial."""
        self.records.append(record)
        self._states[record.state] += 1
        self._num_taken_over += record.taken_from is not None
        if len(self.records) > self.before:
            self._tokens += record.tokens
        if record.state == "complete":
            name, value = quality_of(record)
            self.best = (name, value if self.best is None else min(self.best[1], value))
        if complete([record], objectives=self.objectives):
            # Only front members are compared: a record that was dominated once stays dominated.
            self._members = front([*self._members, record], objectives=self.objectives)
            values = np.concatenate([self._span, points_of([record], objectives=self.objectives)])
            self._span = np.stack([values.min(axis=0), values.max(axis=0)])

    def start(self, live: LiveTrial) -> None:
        """Counts a trial that starts or resumes."""
        self.paused.pop(live.number, None)
        self.running[live.number] = live

    def pause(self, live: LiveTrial) -> None:
        """Counts a trial that pauses."""
        self.running.pop(live.number, None)
        self.paused[live.number] = live

    def finish(self, record: Record) -> None:
        """Counts the record of a running or paused trial that ended."""
        self.running.pop(record.trial, None)
        self.paused.pop(record.trial, None)
        self.add(record)

    def count(self, state: str) -> int:
        """Returns the number of records with this state."""
        return self._states[state]

    @property
    def num_ended(self) -> int:
        """Number of the run's own trials that have ended."""
        return len(self.records) - self._num_taken_over

    @property
    def front_size(self) -> int:
        """Number of records on the front."""
        return len(self._members)

    @property
    def hypervolume_frac(self) -> float:
        """Share of the box between the best and the reference point that the front dominates."""
        if not self._members:
            return 0.0
        points = points_of(self._members, objectives=self.objectives)
        return hypervolume_frac(points, ideal=self._span[0], reference=reference_point(self._span))

    @property
    def tokens_per_s(self) -> float:
        """Training tokens per second of all workers together, in this part of the run."""
        unfinished = [*self.running.values(), *self.paused.values()]
        tokens = self._tokens + sum(live.evaluations[-1].tokens for live in unfinished if live.evaluations)
        return tokens / max(1e-9, time.monotonic() - self.started)

    @property
    def remaining_s(self) -> float | None:
        """Expected time to the last trial, from the rate so far; `None` before the first trial has ended."""
        done = len(self.records) - self.before
        if done < 1:
            return None
        return (self.max_trials - self.num_ended) * (time.monotonic() - self.started) / done


def new_tally(objectives: tuple[str, ...], *, records: list[Record], max_trials: int, workers: int) -> Tally:
    """Returns the tally of a part of a run that begins now, after these records."""
    return Tally(
        objectives=objectives,
        max_trials=max_trials,
        workers=workers,
        records=list(records),
        started=time.monotonic(),
        before=len(records),
    )


def summary_of(tally: Tally) -> str:
    """Returns the tally in one line."""
    parts = [f"{tally.num_ended}/{tally.max_trials} trials", f"{len(tally.running)} running"]
    if tally.paused:
        parts.append(f"{len(tally.paused)} paused")
    parts.append(f"{tally.count('pruned')} stopped early")
    if failed := tally.count("failed") + tally.count("diverged"):
        parts.append(f"{failed} failed")
    parts.append(f"front {tally.front_size} (hypervolume {tally.hypervolume_frac:.2f})")
    if tally.best is not None:
        name, value = tally.best
        parts.append(f"best {name} {value:.3f}")
    parts.append(f"{tally.tokens_per_s:,.0f} tokens/s")
    return ", ".join(parts)


def quality_of(record: Record) -> tuple[str, float]:
    """Returns the quality column of the record's task and its value; a complete record has one."""
    values = ((name, column_value(record, name)) for name in quality_names(list(OBJECTIVES)))
    return next(((name, value) for name, value in values if value is not None), ("loss", math.inf))
