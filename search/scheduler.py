"""The Ray Tune scheduler: first come, first served, and the book's pruner decides who stops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from depthweave.search.book import Book
from depthweave.search.trial import REPORT

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial


class BookScheduler(FIFOScheduler):
    """Hears every result and every crash for the book."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Stop a trial that the pruner gives up."""
        self._book.report(trial.trial_id, result[REPORT])
        return str(TrialScheduler.STOP if self._book.stops(trial.trial_id) else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Keep the cause of a crash; Ray tells the searcher next that the trial is over."""
        self._book.fail(trial.trial_id, _cause(trial))


def _cause(trial: Trial) -> str:
    """The last line of the traceback that Ray kept, which names the exception."""
    path = trial.error_file
    if path is None or not Path(path).exists():
        return "the worker ended without a word"
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines()]
    # Ray frames a task's traceback in colour codes and ends a dead worker's message with advice.
    named = [
        line for line in lines if line and not line.startswith(("Failure #", "The actor", "class_name", "pid", "\t"))
    ]
    return (named[-1] if named else "the worker ended without a word")[:500]
