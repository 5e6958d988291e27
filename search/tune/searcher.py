"""The Ray Tune searcher: Optuna behind `suggest`, the book behind everything else.

Ray's own `OptunaSearch` tells stopped and crashed trials as complete with their partial values, leaves trials without
a metric running for ever, never prunes, and proposes the same architecture again and again.
"""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from depthweave.search.trials.live_trial import Ledger
from depthweave.search.trials.trial import REPORT


class LedgerSearcher(Searcher):
    """Asks the book for trials and tells it how they end."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Nothing to set: the objectives are the book's."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial, `FINISHED`, or `None` while nothing more is to run at once.

        Tune waits a whole second after `None` where nothing runs: the book has it only while something does.
        """
        entry = self._ledger.next(trial_id)
        if entry is not None:
            return {
                "trial": entry.number,
                "architecture": entry.candidate.architecture.to_dict(),
                "seed": entry.seed,
                "heard": len(entry.evaluations),
                "paused": entry.paused,
            }
        return Searcher.FINISHED if self._ledger.ended else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: the scheduler hears of results first, and of those of stopped trials too."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The trial ended by itself, was stopped, or crashed for good."""
        if result is not None and REPORT in result:
            self._ledger.report(trial_id, result[REPORT])
        self._ledger.finish(trial_id, crashed=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal and the store in the run folder are the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, for the same reason."""
