"""`depthweave report`: the page of a run, its figures as files, or a page that follows it."""

from __future__ import annotations

from pathlib import Path

from depthweave.reports.figures.images import Format, check_can_write_images, write_images
from depthweave.reports.figures.standalone import run_figures
from depthweave.reports.page.live_server import open_server
from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from depthweave.search.commands.problems import print_problems


def make_report(run: str) -> None:
    """Write the report and print where it stands."""
    store = RunStore.open(run)
    print(write_report(store))
    print_problems(store)


def follow_run(run: str, *, port: int | None) -> None:
    """Serve the report of a run on this machine, made anew whenever it changed, until Ctrl-C."""
    store = RunStore.open(run)
    with open_server(store, port=port) as server:
        try:
            print(f"{server.url} follows {store.where}; Ctrl-C ends", flush=True)
            server.serve_forever()
        except KeyboardInterrupt:
            # The way to end it.
            print()
    print_problems(store)


def write_figures(run: str, *, folders: dict[Format, Path]) -> None:
    """Write the figures of a run as files and print their names."""
    for kind in folders:
        check_can_write_images(named=f"report --{kind}")
    store = RunStore.open(run)
    figures = run_figures(store)
    if not figures:
        raise ValueError(f"{store.where}: no trial has ended yet, so there is no figure to draw")
    for kind, folder in folders.items():
        for path in write_images(figures, folder=folder, kind=kind):
            print(path)
    print_problems(store)
