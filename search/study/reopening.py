"""Reopens trials that have ended: those whose records are lost, and failed ones. They keep their numbers.

Optuna does not change a trial that has ended. So the journal is rewritten without the lines that ended these trials. It
then equals the journal of a driver that was killed while they ran: they are resumed before other trials start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from depthweave.reports.store.records import Record
from depthweave.search.study.studies import REASON, TRIAL, Studies
from depthweave.search.trials.previous_ending import EndState, PreviousEnding

REOPENED = "again"
"""User attribute of a reopened trial: its `PreviousEnding`."""

_STATES: dict[TrialState, EndState] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def trials_without_record(studies: Studies, records: Iterable[Record]) -> dict[int, PreviousEnding]:
    """Returns the trials that have ended in the journal and have no record, by number."""
    known = list(records)
    # A trial may have no record of its own where its architecture had been recorded under another number.
    numbers, architectures = {item.trial for item in known}, {item.architecture_id for item in known}
    losses, endings = studies.losses(), {}
    for item in studies.trials:
        architecture_id = studies.architecture_id(item)
        if item.state in _STATES and item.number not in numbers and architecture_id not in {*architectures, None}:
            num_reported = len(losses.get(item.number, ()))
            endings[item.number] = PreviousEnding(_STATES[item.state], num_reported, item.user_attrs.get(REASON))
    return endings


def failed_trials(studies: Studies, records: Iterable[Record], *, reference_only: bool) -> dict[int, PreviousEnding]:
    """Returns the trials whose records say that they failed, by number; with `reference_only`, only the reference.

    Diverged trials are not among them: they would diverge again.
    """
    known = {item.number: item for item in studies.trials}
    return {
        item.trial: PreviousEnding.of(item)
        for item in records
        if item.state == "failed" and (item.reference or not reference_only) and item.trial in known
        if known[item.trial].state.is_finished()
    }


def retrained_trials(studies: Studies) -> dict[int, PreviousEnding]:
    """Returns the reopened trials that have not ended again, by number."""
    endings = {}
    for item in studies.trials:
        if not item.state.is_finished() and REOPENED in item.user_attrs:
            # An attribute of that name that another program wrote is ignored.
            with suppress(TypeError):
                endings[item.number] = PreviousEnding(**item.user_attrs[REOPENED])
    return endings


def current_records(records: Iterable[Record], retrained: Mapping[int, PreviousEnding]) -> list[Record]:
    """Returns the records without those that the `retrained` trials will replace."""
    return [
        item
        for item in records
        if item.trial not in retrained or retrained[item.trial].superseded != item.finished_at.isoformat()
    ]


def reopen(journal: Path, studies: Studies, trials: Mapping[int, PreviousEnding]) -> None:
    """Rewrites the journal as if these trials had never ended. The caller opens the studies again.

    The new file replaces the old one by a rename.
    """
    numbers = {item._trial_id: item.number for item in studies.trials}
    ids = {trial_id: trials[number] for trial_id, number in numbers.items() if number in trials}
    curves = studies.curves.get_trials(deepcopy=False)
    curve_ids = {item._trial_id for item in curves if item.user_attrs.get(TRIAL) in trials}
    scratch = journal.with_name(f".{journal.name}.tmp")
    with journal.open("rb") as old, scratch.open("wb") as new:
        for line in old:
            new.writelines(_reopened_lines(line, trials=ids, curves=curve_ids))
    scratch.replace(journal)


def _reopened_lines(line: bytes, *, trials: Mapping[int, PreviousEnding], curves: set[int]) -> Iterator[bytes]:
    """Yields what replaces a line: the line, nothing, or the `PreviousEnding` in place of the end of a trial."""
    entry = json.loads(line)
    trial_id, operation = entry.get("trial_id"), entry["op_code"]
    if trial_id not in trials and trial_id not in curves:
        yield line
        return
    ends = operation == JournalOperation.SET_TRIAL_STATE_VALUES and TrialState(entry["state"]).is_finished()
    if ends and trial_id in trials:
        yield _line(entry, JournalOperation.SET_TRIAL_USER_ATTR, user_attr={REOPENED: trials[trial_id]._asdict()})
    elif operation == JournalOperation.SET_TRIAL_USER_ATTR:
        # Attributes of an earlier ending are dropped.
        if not {REOPENED, REASON} & set(entry["user_attr"]):
            yield line
    elif not ends and operation != JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE:
        yield line


def _line(entry: Mapping[str, object], operation: JournalOperation, **values: object) -> bytes:
    line = {"op_code": int(operation), "worker_id": entry["worker_id"], "trial_id": entry["trial_id"], **values}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
