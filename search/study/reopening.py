"""Trials that ended and are trained again, under their numbers: their records are gone, or they failed.

Optuna never changes a trial that ended. So the journal is written again without the lines that ended these trials. It
is then the journal of a driver that was killed while they ran, and they go on before any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from depthweave.reports.store.records import Record
from depthweave.search.study.studies import REASON, TRIAL, Studies

AGAIN = "again"
"""User attribute of a trial that is trained again: an `PreviousEnding`."""

_State = Literal["complete", "pruned", "failed"]
_STATES: dict[TrialState, _State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class PreviousEnding(NamedTuple):
    """What is known of the earlier end of a trial that is trained again."""

    state: _State
    """How it ended. A complete trial is trained to its end again, and a pruned one as far as it was."""
    num_evaluations: int = 0
    """Evaluations that had been heard of it."""
    reason: str | None = None
    """Why it was stopped or failed."""
    superseded: str | None = None
    """When the trial of the record ended whose place the new one takes; `None` where there is no record."""

    @classmethod
    def of(cls, record: Record) -> PreviousEnding:
        """Of a record that says it failed."""
        return cls("failed", reason=record.reason, superseded=record.finished_at.isoformat())


def lost(studies: Studies, records: Iterable[Record]) -> dict[int, PreviousEnding]:
    """The trials that ended as the journal says, and have no record; by number."""
    known = list(records)
    # An architecture that was asked for twice was answered from its record.
    numbers, architectures = {item.trial for item in known}, {item.architecture_id for item in known}
    losses, found = studies.losses(), {}
    for item in studies.trials:
        architecture_id = studies.architecture_id(item)
        if item.state in _STATES and item.number not in numbers and architecture_id not in {*architectures, None}:
            told = len(losses.get(item.number, ()))
            found[item.number] = PreviousEnding(_STATES[item.state], told, item.user_attrs.get(REASON))
    return found


def failed(studies: Studies, records: Iterable[Record], *, reference_alone: bool) -> dict[int, PreviousEnding]:
    """The trials whose record says that they failed, all or the reference alone; by number.

    One that diverged is not among them: it would do so again.
    """
    known = {item.number: item for item in studies.trials}
    return {
        item.trial: PreviousEnding.of(item)
        for item in records
        if item.state == "failed" and (item.reference or not reference_alone) and item.trial in known
        if known[item.trial].state.is_finished()
    }


def trained_again(studies: Studies) -> dict[int, PreviousEnding]:
    """The trials that ended before and have not ended again, by number."""
    found = {}
    for item in studies.trials:
        if not item.state.is_finished() and AGAIN in item.user_attrs:
            # Whatever else stands under that name was not written here.
            with suppress(TypeError):
                found[item.number] = PreviousEnding(**item.user_attrs[AGAIN])
    return found


def in_force(records: Iterable[Record], again: Mapping[int, PreviousEnding]) -> list[Record]:
    """The records less those whose place another one will take."""
    return [
        item
        for item in records
        if item.trial not in again or again[item.trial].superseded != item.finished_at.isoformat()
    ]


def reopen(journal: Path, studies: Studies, trials: Mapping[int, PreviousEnding]) -> None:
    """Makes these trials run as if they had never ended. The caller opens the studies again.

    The file appears whole, by a rename.
    """
    numbers = {item._trial_id: item.number for item in studies.trials}
    ids = {trial_id: trials[number] for trial_id, number in numbers.items() if number in trials}
    curves = studies.curves.get_trials(deepcopy=False)
    curve_ids = {item._trial_id for item in curves if item.user_attrs.get(TRIAL) in trials}
    scratch = journal.with_name(f".{journal.name}.tmp")
    with journal.open("rb") as old, scratch.open("wb") as new:
        for line in old:
            new.writelines(_previous_ending(line, trials=ids, curves=curve_ids))
    scratch.replace(journal)


def _previous_ending(line: bytes, *, trials: Mapping[int, PreviousEnding], curves: set[int]) -> Iterator[bytes]:
    """What becomes of a line: itself, nothing, or for one that ended a trial what is known of that end."""
    entry = json.loads(line)
    trial_id, operation = entry.get("trial_id"), entry["op_code"]
    if trial_id not in trials and trial_id not in curves:
        yield line
        return
    ends = operation == JournalOperation.SET_TRIAL_STATE_VALUES and TrialState(entry["state"]).is_finished()
    if ends and trial_id in trials:
        yield _line(entry, JournalOperation.SET_TRIAL_USER_ATTR, user_attr={AGAIN: trials[trial_id]._asdict()})
    elif operation == JournalOperation.SET_TRIAL_USER_ATTR:
        # What an earlier end left.
        if not {AGAIN, REASON} & set(entry["user_attr"]):
            yield line
    elif not ends and operation != JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE:
        yield line


def _line(entry: Mapping[str, object], operation: JournalOperation, **values: object) -> bytes:
    told = {"op_code": int(operation), "worker_id": entry["worker_id"], "trial_id": entry["trial_id"], **values}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"
