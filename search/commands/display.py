"""The progress display of a search or confirmation, and its last line when a signal ends it."""

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
    console: Terminal, prepared: PreparedSearch, *, resume_command: str
) -> Iterator[LiveProgress | PlainProgress]:
    """Yields a progress display that suits the console.

    After Ctrl-C or SIGTERM it prints `resume_command` and raises `typer.Exit`.
    """
    objectives = prepared.spec.objectives
    try:
        if console.is_terminal:
            with LiveProgress(console, name=prepared.spec.name, objectives=objectives) as live:
                yield live
        else:
            yield PlainProgress(console, objectives=objectives)
    except (KeyboardInterrupt, SystemExit) as error:
        # Ctrl-C before the first trial or a second one, or SIGTERM: no result is printed and no report is written.
        terminated = isinstance(error, SystemExit)
        line = f"{'terminated' if terminated else 'interrupted'}; continue with `{resume_command}`"
        console.say(line)
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
