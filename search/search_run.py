"""A run that this process works on: what it searches, its folder, its journal and checkpoints, and who follows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from depthweave.reports.store.run_store import CHECKPOINTS, RunStore
from depthweave.search.cluster.placement import Placement
from depthweave.search.learning_rates import ONE_RATE, LearningRates, chosen_rates
from depthweave.search.preparation import PreparedSearch
from depthweave.search.run_folder.contents import check_files
from depthweave.search.run_folder.run_lock import locked_run
from depthweave.search.sparse_records import include_recorded
from depthweave.search.study.journal import Journal, journal_of
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import Progress


@dataclass(frozen=True, kw_only=True)
class SearchRun:
    """A run whose lock this process holds."""

    prepared: PreparedSearch
    store: RunStore
    journal: Journal
    checkpoints: Checkpoints
    progress: Progress
    rates: LearningRates = ONE_RATE
    """The learning rates that were chosen, if the spec gives several."""

    def placed(self, placement: Placement) -> SearchRun:
        """Returns the run with the nodes that its trials may use, which are known once Ray is up."""
        return dataclasses.replace(self, prepared=dataclasses.replace(self.prepared, placement=placement))

    def with_chosen_rates(self) -> SearchRun:
        """Returns the run with the learning rates that its folder has now."""
        return dataclasses.replace(self, rates=chosen_rates(self.store, spec=self.prepared.spec))


@contextmanager
def open_run(prepared: PreparedSearch, store: RunStore, *, progress: Progress) -> Iterator[SearchRun]:
    """Yields the run of the folder, locked: one search or confirmation works on it at a time.

    Raises `ValueError` where another process holds the lock.
    """
    # Before anything is written or deleted there.
    store.check_links()
    with locked_run(store.storage, on_wait=progress.on_phase), journal_of(store.storage) as journal:
        for line in check_files(store, prepared.data):
            progress.on_phase(line)
        include_recorded(prepared.space, store)
        checkpoints = Checkpoints(store.storage.address(CHECKPOINTS))
        yield SearchRun(
            prepared=prepared,
            store=store,
            journal=journal,
            checkpoints=checkpoints,
            progress=progress,
            rates=chosen_rates(store, spec=prepared.spec),
        )
