"""The progress of a running search: a live table on a terminal, otherwise one line per event."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from depthweave.reports.analysis.front import complete, front, hypervolume_frac, points_of, reference_point
from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import OBJECTIVES, column_value, quality_names
from depthweave.reports.store.records import Record
from depthweave.search.console import print_line
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.space import Candidate

_REFRESH_S = 0.5


def label_of(candidate: Candidate) -> str:
    """Returns a short name of an architecture: `dwa 4x1, 12 blocks`."""
    rule = "" if candidate.rule is None or has_one_wiring(candidate.architecture.fusion) else f" {candidate.rule.short}"
    return f"{candidate.architecture.fusion}{rule}, {candidate.architecture.depth} blocks"


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
            name, value = _quality(record)
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


class PlainProgress:
    """Prints one line per event, for logs and pipes."""

    def __init__(self, console: Console, *, objectives: tuple[str, ...]) -> None:
        self._console = console
        self._tally = Tally(objectives=objectives)

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        self._tally = _new_tally(self._tally.objectives, records=records, max_trials=max_trials, workers=workers)
        ended = self._tally.num_ended
        known = f", {ended} known" if ended else ""
        print_line(self._console, f"search: up to {plural(max_trials, 'trial')}{known}, {workers} at once")

    def on_start(self, live: LiveTrial) -> None:
        self._tally.start(live)
        how = f"continues after evaluation {len(live.evaluations)}" if live.evaluations else "starts"
        print_line(
            self._console, f"trial {live.number} {how}: {label_of(live.candidate)} ({live.candidate.architecture.id})"
        )

    def on_pause(self, live: LiveTrial) -> None:
        self._tally.pause(live)
        print_line(self._console, f"trial {live.number} pauses after evaluation {len(live.evaluations)}")

    def on_evaluation(self, live: LiveTrial) -> None:
        if live.last_report is not None and live.last_report.note:
            print_line(self._console, live.last_report.note)

    def on_finish(self, record: Record) -> None:
        self._tally.finish(record)
        print_line(self._console, f"trial {record.trial} {_outcome(record)}; {_summary(self._tally)}")

    def on_tick(self) -> None:
        pass

    def on_phase(self, text: str) -> None:
        print_line(self._console, text)

    def on_note(self, text: str) -> None:
        print_line(self._console, text)


class LiveProgress:
    """Redraws a table in place; use it as a context manager around the search."""

    def __init__(self, console: Console, *, name: str, objectives: tuple[str, ...]) -> None:
        self._name = name
        self._tally = Tally(objectives=objectives)
        self._phase = "preparing"
        self._drawn_s = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        self._tally = _new_tally(self._tally.objectives, records=records, max_trials=max_trials, workers=workers)
        self.on_phase("training")

    def on_start(self, live: LiveTrial) -> None:
        self._tally.start(live)
        self._draw()

    def on_pause(self, live: LiveTrial) -> None:
        self._tally.pause(live)
        self._draw()

    def on_evaluation(self, live: LiveTrial) -> None:
        if live.last_report is not None and live.last_report.note:
            self.on_note(live.last_report.note)
        self.on_tick()

    def on_finish(self, record: Record) -> None:
        self._tally.finish(record)
        self._draw()

    def on_tick(self) -> None:
        if time.monotonic() - self._drawn_s > _REFRESH_S:
            self._draw()

    def on_phase(self, text: str) -> None:
        self._phase = text
        if text != "training":
            self._tally.running.clear()
        self._draw()

    def on_note(self, text: str) -> None:
        # Above the table: it stays there.
        print_line(self._live.console, text)

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        self._live.update(Group(self._summary_text(), self._running_table()), refresh=True)

    def _summary_text(self) -> Text:
        tally = self._tally
        line = Text.assemble((self._name, "bold"), f"  {self._phase}")
        if tally.max_trials:
            line.append(f"  {_duration(time.monotonic() - tally.started)}")
            if tally.remaining_s is not None and tally.running:
                line.append(f", about {_duration(tally.remaining_s)} left", style="dim")
            line.append("\n" + _summary(tally))
        return line

    def _running_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(self._tally.running))
        for head in ("trial", "architecture"):
            table.add_column(head, style="dim" if head == "trial" else "")
        for head in ("tokens", "loss", "latency"):
            table.add_column(head, justify="right")
        for number, live in sorted(self._tally.running.items()):
            last = live.evaluations[-1] if live.evaluations else None
            report = live.last_report
            table.add_row(
                str(number),
                label_of(live.candidate),
                "measuring" if last is None else f"{last.tokens:,}",
                "" if last is None else f"{last.loss:.3f}",
                "" if report is None else f"{report.measurement.latency:.2f}x",
            )
        return table


def _new_tally(objectives: tuple[str, ...], *, records: list[Record], max_trials: int, workers: int) -> Tally:
    return Tally(
        objectives=objectives,
        max_trials=max_trials,
        workers=workers,
        records=list(records),
        started=time.monotonic(),
        before=len(records),
    )


def _summary(tally: Tally) -> str:
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


def _outcome(record: Record) -> str:
    if record.state == "complete":
        name, value = _quality(record)
        return f"complete: {name} {value:.3f}, latency {record.latency:.2f}x"
    return f"{record.state}: {record.reason}"


def _quality(record: Record) -> tuple[str, float]:
    """Returns the quality column of the record's task and its value; a complete record has one."""
    values = ((name, column_value(record, name)) for name in quality_names(list(OBJECTIVES)))
    return next(((name, value) for name, value in values if value is not None), ("loss", math.inf))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
