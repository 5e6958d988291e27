"""`depthweave show`: the front of a run in the terminal, once or live."""

from __future__ import annotations

import time
from typing import Literal

from rich.live import Live

from depthweave.reports.analysis.device_kinds import kinds_sentence
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.front_plot import csv_text, front_view, watched_view
from depthweave.reports.terminal.table import front_rows
from depthweave.search.commands.problems import print_problems
from depthweave.search.console import Terminal, print_json, print_text

OutputFormat = Literal["table", "json", "csv", "watch"]

_POLL_S = 1.0
"""Time between two looks at a watched run."""


def output_format(*, as_json: bool, as_csv: bool, watch: bool) -> OutputFormat:
    """Returns the format to print; raises `ValueError` where two are asked for."""
    asked: dict[OutputFormat, bool] = {"json": as_json, "csv": as_csv, "watch": watch}
    wanted = [name for name, given in asked.items() if given]
    if len(wanted) > 1:
        raise ValueError(f"show: {' and '.join(f'--{name}' for name in wanted)} exclude each other: give one")
    return wanted[0] if wanted else "table"


def show_front(run: str, *, form: OutputFormat) -> None:
    """Prints the front of a run; `watch` redraws it after every change, until Ctrl-C."""
    store, console = RunStore.open(run), Terminal()
    objectives, tolerances = store.info.objectives, store.info.tolerance_of
    if form == "watch":
        _watch(store, console)
        return
    records = store.records()
    if form == "json":
        print_json(front_rows(records, objectives=objectives, tolerances=tolerances))
    elif form == "csv":
        print_text(csv_text(front_rows(records, objectives=objectives, tolerances=tolerances)))
    else:
        view = front_view(records, objectives=objectives, columns=console.width, tolerances=tolerances)
        console.show(view)
        if left_out := kinds_sentence(records, objectives=objectives).strip():
            console.say(left_out)
    print_problems(store)


def _watch(store: RunStore, console: Terminal) -> None:
    if not console.is_terminal:
        raise ValueError("show --watch needs a terminal, and the output is none: leave --watch out, or use --json")
    seen = ""
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                # A change of the window's width needs a redraw too.
                now = f"{store.stamp()} {console.width}"
                if now != seen:
                    seen = now
                    view = watched_view(
                        store.records(),
                        objectives=store.info.objectives,
                        columns=console.width,
                        name=store.info.name,
                        tolerances=store.info.tolerance_of,
                    )
                    live.update(view, refresh=True)
                time.sleep(_POLL_S)
    except KeyboardInterrupt:
        # The normal end: the last drawing stays.
        print_problems(store)
