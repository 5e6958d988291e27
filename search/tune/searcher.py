"""The Ray Tune searcher: it asks the ledger for trials, and reports their ends to it.

Ray's own `OptunaSearch` reports stopped and crashed trials as complete with their partial values, leaves trials without
a metric running for ever, never prunes, and proposes the same architecture again and again.
"""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from depthweave.search.trials.live_trial import Ledger
from depthweave.search.trials.trial import REPORT


class LedgerSearcher(Searcher):
    """Connects Tune's search algorithm interface to a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Sets nothing: the ledger has the objectives."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the config of the next trial, `FINISHED`, or `None` while no further trial is to run.

        After `None` Tune waits a whole second where nothing runs. The ledger returns `None` only while something runs.
        """
        live = self._ledger.next(trial_id)
        if live is not None:
            return {
                "trial": live.number,
                "architecture": live.candidate.architecture.to_dict(),
                "seed": live.seed,
                "learning_rate": live.learning_rate,
                "num_reported": len(live.evaluations),
                "paused": live.paused,
            }
        return Searcher.FINISHED if self._ledger.ended else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing to do: the scheduler gets all results first, those of stopped trials too."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The trial ended by itself, was stopped, or crashed."""
        if result is not None and REPORT in result:
            self._ledger.report(trial_id, result[REPORT])
        self._ledger.finish(trial_id, crashed=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to do: the state of a search is its journal and its store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to do, for the same reason."""
