"""Prints which files of a run could not be read."""

from __future__ import annotations

from depthweave.reports.store.run_store import RunStore
from depthweave.search.console import Terminal


def print_problems(store: RunStore) -> None:
    """Prints a line on standard error for each file of the run that could not be read."""
    for line in store.problems:
        Terminal(stderr=True).say(line)
