"""`depthweave report`: the page of a run, its figures as files, or a live page."""

from __future__ import annotations

from pathlib import Path

from depthweave.reports.figures.images import Format, check_can_write_images, write_images
from depthweave.reports.figures.standalone import run_figures
from depthweave.reports.page.live_server import open_server
from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from depthweave.search.commands.problems import print_problems
from depthweave.search.console import Terminal


def make_report(run: str) -> None:
    """Writes the report and prints its path."""
    store = RunStore.open(run)
    Terminal().say(write_report(store))
    print_problems(store)


def follow_run(run: str, *, port: int | None) -> None:
    """Serves the report of a run on this machine until Ctrl-C, and updates it while the search runs."""
    store, console = RunStore.open(run), Terminal()
    with open_server(store, port=port) as server:
        try:
            console.say(f"{server.url} follows {store.where}; Ctrl-C ends")
            server.serve_forever()
        except KeyboardInterrupt:
            # The normal end: the next line begins after the ^C of the terminal.
            console.say("")
    print_problems(store)


def write_figures(run: str, *, folders: dict[Format, Path]) -> None:
    """Writes the figures of a run as files and prints their paths."""
    for kind in folders:
        check_can_write_images(named=f"report --{kind}")
    store, console = RunStore.open(run), Terminal()
    figures = run_figures(store)
    if not figures:
        raise ValueError(f"{store.where}: no trial has ended yet, so there is no figure to draw")
    for kind, folder in folders.items():
        for path in write_images(figures, folder=folder, kind=kind):
            console.say(str(path))
    print_problems(store)
