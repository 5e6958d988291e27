"""The studies of a run, opened so that journal and records agree; what had to be mended for that is said.

Records outweigh the journal: what they hold and it lacks is entered. What it knows as ended and they lack is trained
again, the same architecture under the same number: no other one takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from depthweave.reports.analysis.seeds import searched
from depthweave.reports.formatting import plural
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch
from depthweave.search.strategy import Strategy
from depthweave.search.study.journal import Journal
from depthweave.search.study.journal_recovery import (
    asked_before,
    damaged_line,
    first_unknown,
    rebuild,
    set_aside,
    set_aside_damaged,
)
from depthweave.search.study.reopening import PreviousEnding, failed, in_force, lost, reopen, trained_again
from depthweave.search.study.studies import Studies
from depthweave.search.trials.checkpoints import Checkpoints

_MAX_NAMED = 50
"""Trials that are named one by one."""


def open_studies(
    prepared: PreparedSearch,
    store: RunStore,
    *,
    strategy: Strategy,
    parameters: Parameters,
    journal: Journal,
    checkpoints: Checkpoints,
    retry_failed: bool,
    note: Callable[[str], None],
) -> Studies:
    """The studies of a search, `opened` over its journal."""

    def make() -> Studies:
        return Studies(
            journal.path,
            objectives=prepared.spec.objectives,
            sampler=strategy.sampler,
            pruner=strategy.pruner,
            parameters=parameters,
            use_curves=strategy.use_curves,
            keep=journal.keep,
        )

    studies = opened(
        make,
        journal=journal.path,
        store=store,
        parameters=parameters,
        checkpoints=checkpoints,
        retry_failed=retry_failed,
        note=note,
    )
    # One that was written again has nothing in common with the pieces that are kept of it.
    journal.keep_whole()
    return studies


def opened(
    make: Callable[[], Studies],
    *,
    journal: Path,
    store: RunStore,
    parameters: Parameters,
    checkpoints: Checkpoints,
    retry_failed: bool,
    note: Callable[[str], None],
) -> Studies:
    """The studies, as `make` opens them, with every trial of the records; `note` hears what was mended.

    Trials without a record are to be trained again, and so is a reference that failed; with `retry_failed` every trial
    that failed is.
    """
    records = searched(store.records())
    studies = _whole(
        make, records, journal=journal, store=store, parameters=parameters, checkpoints=checkpoints, note=note
    )
    records = in_force(records, trained_again(studies))
    gone = lost(studies, records)
    retried = failed(studies, records, reference_alone=not retry_failed)
    again = {**gone, **retried}
    _note_lost_curves(store, records, note=note)
    if not again:
        return studies
    for line in _named(studies, gone, told="its record is gone from records/, so it is trained again"):
        note(line)
    for line in _named(studies, retried, told="it failed, and is tried again"):
        note(line)
    reopen(journal, studies, again)
    return make()


def _whole(
    make: Callable[[], Studies],
    records: Sequence[Record],
    *,
    journal: Path,
    store: RunStore,
    parameters: Parameters,
    checkpoints: Checkpoints,
    note: Callable[[str], None],
) -> Studies:
    """The studies; made again of the records where the journal is damaged, gone, empty or behind them."""
    conclusion = None
    if damaged_line(journal) is not None:
        known, told = asked_before(journal, parameters=parameters), set_aside_damaged(journal)
        studies = make()
    else:
        was_there = journal.exists() and journal.stat().st_size > 0
        studies = make()
        unknown = first_unknown(studies, records)
        if unknown is None:
            return studies
        known, conclusion = asked_before(journal, parameters=parameters), studies.conclusion
        what = "is gone or empty"
        if was_there:
            what = f"lacks trial {unknown.trial} of the records; it is set aside as {set_aside(journal).name}"
        else:
            journal.unlink()
        told = f"{journal}: {what} and made again of the records"
        studies = make()
    num_known = rebuild(studies, store=store, parameters=parameters, checkpoints=checkpoints, asked=known)
    if conclusion is not None:
        studies.conclude(conclusion)
    note(f"{told}: {plural(num_known, 'trial')}")
    holes = [str(item.number) for item in studies.trials if studies.architecture_id(item) is None]
    if holes:
        note(f"nothing is known any more of the trials {', '.join(holes)}: their numbers stay empty")
    return studies


def _named(studies: Studies, trials: Mapping[int, PreviousEnding], *, told: str) -> list[str]:
    by_number = {item.number: studies.architecture_id(item) for item in studies.trials}
    lines = [f"trial {number} ({by_number[number]}): {told}" for number in sorted(trials)]
    more = [f"and {len(lines) - _MAX_NAMED} more"] if len(lines) > _MAX_NAMED else []
    return lines[:_MAX_NAMED] + more


def _note_lost_curves(store: RunStore, records: Sequence[Record], *, note: Callable[[str], None]) -> None:
    """A record with steps was written after its evaluations: where they are not there, they were lost."""
    there = set(store.evaluations()["trial"].to_pylist())
    bare = [str(item.trial) for item in records if item.steps and item.trial not in there]
    if bare:
        more = f" and {len(bare) - _MAX_NAMED} more" if len(bare) > _MAX_NAMED else ""
        note(
            f"the learning curves of the trials {', '.join(bare[:_MAX_NAMED])}{more} are gone from evaluations/: "
            "the report lacks them"
        )
