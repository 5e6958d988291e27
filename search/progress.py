"""What a search shows while it runs: a live table on a terminal, else one plain line an event."""

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
from depthweave.reports.store.objectives import QUALITIES
from depthweave.reports.store.records import Record
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.spaces.space import Candidate

_REFRESH_S = 0.5


def label_of(candidate: Candidate) -> str:
    """An architecture in a few characters: `dwa 4x1, 12 blocks`."""
    pattern = "" if candidate.pattern is None else f" {candidate.pattern.dilation}x{candidate.pattern.period}"
    return f"{candidate.architecture.fusion}{pattern}, {candidate.architecture.depth} blocks"


@dataclass(kw_only=True)
class Tally:
    """Numbers of a search so far; both displays draw from it after every trial, so none is counted anew."""

    objectives: tuple[str, ...]
    max_trials: int = 0
    workers: int = 0
    records: list[Record] = field(default_factory=list)
    running: dict[int, LiveTrial] = field(default_factory=dict)
    paused: dict[int, LiveTrial] = field(default_factory=dict)
    started: float = 0.0
    """Of this part of the run."""
    before: int = 0
    """Records of earlier parts."""
    best: tuple[str, float] | None = field(init=False, default=None)
    """The quality column of the task and its lowest value among the complete trials."""
    _states: Counter[str] = field(init=False, default_factory=Counter)
    _tokens: int = field(init=False, default=0)
    """Trained on in the ended trials of this part."""
    _members: list[Record] = field(init=False, default_factory=list)
    """The joint front."""
    _span: NDArray[np.float64] = field(init=False)
    """Best and worst value of each objective, of the complete records, `[2, objectives]`."""

    def __post_init__(self) -> None:
        self._span = np.empty((0, len(self.objectives)))
        given, self.records = self.records, []
        for record in given:
            self.add(record)

    def add(self, record: Record) -> None:
        """A trial ended."""
        self.records.append(record)
        self._states[record.state] += 1
        if len(self.records) > self.before:
            self._tokens += record.tokens
        if record.state == "complete":
            name, value = _quality(record)
            self.best = (name, value if self.best is None else min(self.best[1], value))
        if complete([record], objectives=self.objectives):
            # Of thousands of records few matter: what was beaten once stays beaten.
            self._members = front([*self._members, record], objectives=self.objectives)
            values = np.concatenate([self._span, points_of([record], objectives=self.objectives)])
            self._span = np.stack([values.min(axis=0), values.max(axis=0)])

    def start(self, live: LiveTrial) -> None:
        """A trial begins or goes on."""
        self.paused.pop(live.number, None)
        self.running[live.number] = live

    def pause(self, live: LiveTrial) -> None:
        """A trial waits."""
        self.running.pop(live.number, None)
        self.paused[live.number] = live

    def finish(self, record: Record) -> None:
        """A trial ended, and may have been paused."""
        self.running.pop(record.trial, None)
        self.paused.pop(record.trial, None)
        self.add(record)

    def count(self, state: str) -> int:
        """Records that ended so."""
        return self._states[state]

    @property
    def front_size(self) -> int:
        """Members of the joint front."""
        return len(self._members)

    @property
    def hypervolume_frac(self) -> float:
        """Share of the box from the best of each objective to beyond the worst that the front dominates."""
        if not self._members:
            return 0.0
        points = points_of(self._members, objectives=self.objectives)
        return hypervolume_frac(points, ideal=self._span[0], reference=reference_point(self._span))

    @property
    def tokens_per_s(self) -> float:
        """Tokens trained on a second, all workers together, in this part of the run."""
        flying = [*self.running.values(), *self.paused.values()]
        ours = self._tokens + sum(item.evaluations[-1].tokens for item in flying if item.evaluations)
        return ours / max(1e-9, time.monotonic() - self.started)

    @property
    def left_s(self) -> float | None:
        """Time to the last trial, from the rate so far; `None` before the first has ended."""
        done = len(self.records) - self.before
        if done < 1:
            return None
        return (self.max_trials - len(self.records)) * (time.monotonic() - self.started) / done


class PlainProgress:
    """One line an event, for logs and pipes."""

    def __init__(self, console: Console, *, objectives: tuple[str, ...]) -> None:
        self._console = console
        self._tally = Tally(objectives=objectives)

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        self._tally = _begun(self._tally.objectives, records=records, max_trials=max_trials, workers=workers)
        known = f", {len(records)} known" if records else ""
        self._print(f"search: up to {plural(max_trials, 'trial')}{known}, {workers} at once")

    def on_start(self, live: LiveTrial) -> None:
        self._tally.start(live)
        how = f"goes on after evaluation {len(live.evaluations)}" if live.evaluations else "starts"
        self._print(f"trial {live.number} {how}: {label_of(live.candidate)} ({live.candidate.architecture.id})")

    def on_pause(self, live: LiveTrial) -> None:
        self._tally.pause(live)
        self._print(f"trial {live.number} pauses after evaluation {len(live.evaluations)}")

    def on_evaluation(self, live: LiveTrial) -> None:
        if live.last_report is not None and live.last_report.note:
            self._print(live.last_report.note)

    def on_finish(self, record: Record) -> None:
        self._tally.finish(record)
        self._print(f"trial {record.trial} {_ending(record)}; {_summary(self._tally)}")

    def on_tick(self) -> None:
        pass

    def on_phase(self, text: str) -> None:
        self._print(text)

    def on_note(self, text: str) -> None:
        self._print(text)

    def _print(self, text: str) -> None:
        # No markup and no wrapping: a line an event, whatever a name holds.
        self._console.print(" ".join(text.splitlines()), markup=False, highlight=False, soft_wrap=True)


class LiveProgress:
    """A table that is drawn anew in place; use as a context manager around the search."""

    def __init__(self, console: Console, *, name: str, objectives: tuple[str, ...]) -> None:
        self._name = name
        self._tally = Tally(objectives=objectives)
        self._phase = "preparing"
        self._drawn = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        self._tally = _begun(self._tally.objectives, records=records, max_trials=max_trials, workers=workers)
        self.on_phase("training")

    def on_start(self, live: LiveTrial) -> None:
        self._tally.start(live)
        self._draw()

    def on_pause(self, live: LiveTrial) -> None:
        self._tally.pause(live)
        self._draw()

    def on_evaluation(self, live: LiveTrial) -> None:
        if live.last_report is not None and live.last_report.note:
            # Above the table, where it stays.
            self._live.console.print(live.last_report.note, markup=False, highlight=False, soft_wrap=True)
        self.on_tick()

    def on_finish(self, record: Record) -> None:
        self._tally.finish(record)
        self._draw()

    def on_tick(self) -> None:
        if time.monotonic() - self._drawn > _REFRESH_S:
            self._draw()

    def on_phase(self, text: str) -> None:
        self._phase = text
        if text != "training":
            self._tally.running.clear()
        self._draw()

    def on_note(self, text: str) -> None:
        # Above the table, where it stays.
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.update(Group(self._head(), self._running()), refresh=True)

    def _head(self) -> Text:
        tally = self._tally
        line = Text.assemble((self._name, "bold"), f"  {self._phase}")
        if tally.max_trials:
            line.append(f"  {_clock(time.monotonic() - tally.started)}")
            if tally.left_s is not None and tally.running:
                line.append(f", about {_clock(tally.left_s)} left", style="dim")
            line.append("\n" + _summary(tally))
        return line

    def _running(self) -> Table:
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


def _begun(objectives: tuple[str, ...], *, records: list[Record], max_trials: int, workers: int) -> Tally:
    return Tally(
        objectives=objectives,
        max_trials=max_trials,
        workers=workers,
        records=list(records),
        started=time.monotonic(),
        before=len(records),
    )


def _summary(tally: Tally) -> str:
    parts = [f"{len(tally.records)}/{tally.max_trials} trials", f"{len(tally.running)} running"]
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


def _ending(record: Record) -> str:
    if record.state == "complete":
        name, value = _quality(record)
        return f"complete: {name} {value:.3f}, latency {record.latency:.2f}x"
    return f"{record.state}: {record.reason}"


def _quality(record: Record) -> tuple[str, float]:
    """The quality column of the record's task and its value; a complete record has one."""
    values = ((name, getattr(record, name)) for name in QUALITIES)
    return next(((name, value) for name, value in values if value is not None), ("loss", math.inf))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
