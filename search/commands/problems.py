"""What the reading of a run left out, said once at the end of a command."""

from __future__ import annotations

from depthweave.reports.store.run_store import RunStore
from depthweave.search.console import Terminal


def print_problems(store: RunStore) -> None:
    """One line on standard error for each file of the run that could not be read."""
    for line in store.problems:
        Terminal(stderr=True).say(line)
