"""Opens the trial ledger of a search, new or resumed, with its strategy and its studies."""

from __future__ import annotations

from depthweave.reports.store.warm_start import WarmStart
from depthweave.search.parameters import Parameters
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.search_run import SearchRun
from depthweave.search.sparse_records import weight_source
from depthweave.search.strategy import strategy_of
from depthweave.search.study.opening import open_studies
from depthweave.search.survey import read_survey
from depthweave.search.trial_ledger import TrialLedger
from depthweave.search.trial_plan import maker_of
from depthweave.search.warm_start.start import source_losses
from depthweave.spaces.hosted import is_plain


def open_ledger(
    run: SearchRun, *, warm_start: WarmStart, workers: int, chooser: Chooser | None, retry_failed: bool
) -> TrialLedger:
    """Returns the ledger of a run on the connected cluster, after its survey.

    `chooser` replaces the spec's. `retry_failed`: failed trials are trained again.
    """
    prepared, store = run.prepared, run.store
    spec, parameters = prepared.spec, Parameters(prepared.space)
    strategy = strategy_of(
        spec,
        parameters=parameters,
        measured=read_survey(store).measurements,
        weights=weight_source(store),
        sources=source_losses(store, warm_start),
    )
    studies = open_studies(
        prepared,
        store,
        strategy=strategy,
        parameters=parameters,
        journal=run.journal,
        checkpoints=run.checkpoints,
        retry_failed=retry_failed,
        note=run.progress.on_note,
    )
    # The reference first, then the plain architectures of other depths and budgets: every comparison needs them.
    plain = [item.architecture.id for item in prepared.space if is_plain(item.architecture)]
    studies.enqueue(sorted(plain, key=lambda item: item != prepared.reference.architecture.id))
    return TrialLedger(
        store=store,
        studies=studies,
        space=prepared.space,
        maker=maker_of(run),
        checkpoints=run.checkpoints,
        # Records that were taken over are no trials of this search.
        max_trials=spec.search.trials + len(warm_start.taken_over),
        max_concurrent=workers,
        retries=spec.search.retries,
        listener=run.progress,
        chooser=chooser or strategy.chooser,
    )
