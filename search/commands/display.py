"""What a search or a confirmation shows while it works, and what it says where a signal ends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from depthweave.search.console import Terminal
from depthweave.search.preparation import PreparedSearch
from depthweave.search.progress import LiveProgress, PlainProgress
from depthweave.search.signals import INTERRUPTED, TERMINATED


@contextmanager
def search_display(
    console: Terminal, prepared: PreparedSearch, *, go_on: str
) -> Iterator[LiveProgress | PlainProgress]:
    """A display that fits the console. Raises `typer.Exit` after Ctrl-C or SIGTERM, with `go_on` said to the user."""
    objectives = prepared.spec.objectives
    try:
        if console.is_terminal:
            with LiveProgress(console, name=prepared.spec.name, objectives=objectives) as live:
                yield live
        else:
            yield PlainProgress(console, objectives=objectives)
    except (KeyboardInterrupt, SystemExit) as error:
        # Before the first trial, a second Ctrl-C, or SIGTERM: no result is printed and no report written.
        terminated = isinstance(error, SystemExit)
        line = f"{'terminated' if terminated else 'interrupted'}; go on with `{go_on}`"
        console.say(line)
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
