"""What the reading of a run left out, said once at the end of a command."""

from __future__ import annotations

from rich.console import Console

from depthweave.reports.store import RunStore


def print_problems(store: RunStore) -> None:
    """One line on standard error for each file of the run that could not be read."""
    for line in store.problems:
        Console(stderr=True).print(f"left out: {line}", markup=False, highlight=False, soft_wrap=True)
