"""Prints which files of a run could not be read, and which trials have no record."""

from __future__ import annotations

from depthweave.reports.store.run_store import RunStore
from depthweave.search.console import Terminal, command_line
from depthweave.search.study.unrecorded import unrecorded_trials

_MAX_LISTED = 50
"""Maximum number of trials that a line lists."""


def print_problems(store: RunStore) -> None:
    """Prints lines on standard error: one for each file that could not be read, and one for trials without record."""
    unrecorded = unrecorded_trials(store)
    for line in [*store.problems, *_unrecorded_lines(store, unrecorded)]:
        Terminal(stderr=True).say(line)


def _unrecorded_lines(store: RunStore, trials: list[int]) -> list[str]:
    if not trials:
        return []
    listed = ", ".join(map(str, trials[:_MAX_LISTED]))
    if len(trials) > _MAX_LISTED:
        listed += f" and {len(trials) - _MAX_LISTED} more"
    which = f"trial {listed} has ended and has" if len(trials) == 1 else f"trials {listed} have ended and have"
    command = command_line("search", "--resume", "--out", store.where)
    return [f"study.journal: {which} no readable record in records/: `{command}` trains what is missing again"]
