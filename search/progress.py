"""The progress of a running search: a live table on a terminal, otherwise one line per event."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from depthweave.reports.formatting import plural
from depthweave.reports.store.records import Record
from depthweave.search.console import print_line
from depthweave.search.tally import Tally, new_tally, quality_of, summary_of
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.space import Candidate

_REFRESH_S = 0.5


def label_of(candidate: Candidate) -> str:
    """Returns a short name of an architecture: `dwa 4x1, 12 blocks`."""
    rule = "" if candidate.rule is None or has_one_wiring(candidate.architecture.fusion) else f" {candidate.rule.short}"
    return f"{candidate.architecture.fusion}{rule}, {candidate.architecture.depth} blocks"


class PlainProgress:
    """Prints one line per event, for logs and pipes."""

    def __init__(self, console: Console, *, objectives: tuple[str, ...]) -> None:
        self._console = console
        self._tally = Tally(objectives=objectives)

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        self._tally = new_tally(self._tally.objectives, records=records, max_trials=max_trials, workers=workers)
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
        print_line(self._console, f"trial {record.trial} {_outcome(record)}; {summary_of(self._tally)}")

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
        self._tally = new_tally(self._tally.objectives, records=records, max_trials=max_trials, workers=workers)
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
            line.append("\n" + summary_of(tally))
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


def _outcome(record: Record) -> str:
    if record.state == "complete":
        name, value = quality_of(record)
        return f"complete: {name} {value:.3f}, latency {record.latency:.2f}x"
    return f"{record.state}: {record.reason}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
