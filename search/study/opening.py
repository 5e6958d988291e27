"""Opens the studies of a run so that journal and records agree, and reports every repair.

The records take precedence. Trials that only the records hold are entered into the journal. Trials that ended only in
the journal are trained again, with the same architecture and number.
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
    damaged_line,
    first_missing_record,
    rebuild,
    set_aside,
    set_aside_damaged,
    started_architectures,
)
from depthweave.search.study.reopening import (
    current_records,
    failed_trials,
    reopen,
    retrained_trials,
    trials_without_record,
)
from depthweave.search.study.studies import Studies
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.previous_ending import PreviousEnding

_MAX_LISTED = 50
"""Maximum number of trials that a message lists."""


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
    """Returns the studies of a search, in agreement with its records (`open_consistent`)."""

    def make() -> Studies:
        return Studies(
            journal.path,
            objectives=prepared.spec.objectives,
            sampler=strategy.sampler,
            pruner=strategy.pruner,
            parameters=parameters,
            use_curves=strategy.use_curves,
            persist=journal.upload,
        )

    studies = open_consistent(
        make,
        journal=journal.path,
        store=store,
        parameters=parameters,
        checkpoints=checkpoints,
        retry_failed=retry_failed,
        note=note,
    )
    # A rewritten journal does not continue the parts that object storage holds.
    journal.upload_whole()
    return studies


def open_consistent(
    make: Callable[[], Studies],
    *,
    journal: Path,
    store: RunStore,
    parameters: Parameters,
    checkpoints: Checkpoints,
    retry_failed: bool,
    note: Callable[[str], None],
) -> Studies:
    """Returns the studies, as `make` opens them, with every trial of the records. Calls `note` with every repair.

    Trials without a record are set to be trained again, and so is a failed reference; with `retry_failed`, every
    failed trial.
    """
    records = searched(store.records())
    studies = _open_or_rebuild(
        make, records, journal=journal, store=store, parameters=parameters, checkpoints=checkpoints, note=note
    )
    records = current_records(records, retrained_trials(studies))
    lost = trials_without_record(studies, records)
    retried = failed_trials(studies, records, reference_only=not retry_failed)
    reopened = {**lost, **retried}
    _note_missing_curves(store, records, note=note)
    if not reopened:
        return studies
    for line in _listed(studies, lost, message="its record is missing from records/, so it is trained again"):
        note(line)
    for line in _listed(studies, retried, message="it failed, and is tried again"):
        note(line)
    reopen(journal, studies, reopened)
    return make()


def _open_or_rebuild(
    make: Callable[[], Studies],
    records: Sequence[Record],
    *,
    journal: Path,
    store: RunStore,
    parameters: Parameters,
    checkpoints: Checkpoints,
    note: Callable[[str], None],
) -> Studies:
    """Opens the studies; rebuilds them from the records if the journal is damaged, missing, empty or incomplete."""
    conclusion = None
    if damaged_line(journal) is not None:
        started, message = started_architectures(journal, parameters=parameters), set_aside_damaged(journal)
        studies = make()
    else:
        existed = journal.exists() and journal.stat().st_size > 0
        studies = make()
        missing = first_missing_record(studies, records)
        if _only_taken_over(studies, records, checkpoints=checkpoints):
            return _with_taken_over(
                make, studies, records, journal=journal, store=store, parameters=parameters, checkpoints=checkpoints
            )
        if missing is None:
            return studies
        started, conclusion = started_architectures(journal, parameters=parameters), studies.conclusion
        problem = "is missing or empty"
        if existed:
            problem = f"lacks trial {missing.trial} of the records; it is set aside as {set_aside(journal).name}"
        else:
            journal.unlink()
        message = f"{journal}: {problem} and rebuilt from the records and checkpoints"
        studies = make()
    num_rebuilt = rebuild(studies, store=store, parameters=parameters, checkpoints=checkpoints, started=started)
    if conclusion is not None:
        studies.conclude(conclusion)
    note(f"{message}: {plural(num_rebuilt, 'trial')}")
    unknown = [str(item.number) for item in studies.trials if studies.architecture_id(item) is None]
    if unknown:
        note(f"the architectures of the trials {', '.join(unknown)} are unknown: their numbers stay unused")
    return studies


def _only_taken_over(studies: Studies, records: Sequence[Record], *, checkpoints: Checkpoints) -> bool:
    """Returns whether the search has nothing but records of other runs. Its studies may lack some of them."""
    numbers = {item.trial for item in records if item.taken_from is not None}
    others = {item.number for item in studies.trials} | set(checkpoints.numbers()) if numbers else set()
    return bool(numbers) and len(numbers) == len(records) and others <= numbers


def _with_taken_over(
    make: Callable[[], Studies],
    studies: Studies,
    records: Sequence[Record],
    *,
    journal: Path,
    store: RunStore,
    parameters: Parameters,
    checkpoints: Checkpoints,
) -> Studies:
    """Returns the studies with all records that were taken over. A kill may have left some of them half entered."""
    if len(studies.trials) == len(records) and all(item.state.is_finished() for item in studies.trials):
        return studies
    journal.unlink()
    studies = make()
    rebuild(studies, store=store, parameters=parameters, checkpoints=checkpoints)
    return studies


def _listed(studies: Studies, trials: Mapping[int, PreviousEnding], *, message: str) -> list[str]:
    by_number = {item.number: studies.architecture_id(item) for item in studies.trials}
    lines = [f"trial {number} ({by_number[number]}): {message}" for number in sorted(trials)]
    more = [f"and {len(lines) - _MAX_LISTED} more"] if len(lines) > _MAX_LISTED else []
    return lines[:_MAX_LISTED] + more


def _note_missing_curves(store: RunStore, records: Sequence[Record], *, note: Callable[[str], None]) -> None:
    """Reports the trained records without evaluations, which are written before the record."""
    present = set(store.evaluations()["trial"].to_pylist())
    missing = [str(item.trial) for item in records if item.steps and item.trial not in present]
    if missing:
        more = f" and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
        listed = f"{', '.join(missing[:_MAX_LISTED])}{more}"
        if len(missing) == 1:
            note(f"the learning curve of trial {listed} is missing from evaluations/: the report lacks it")
        else:
            note(f"the learning curves of trials {listed} are missing from evaluations/: the report lacks them")
