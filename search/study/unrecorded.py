"""Finds the trials that ended in a run's journal and have no record; opens no study and changes nothing.

`depthweave search --resume` trains them again (`reopening.py`). The commands that only read a run name them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from depthweave.reports.store.run_store import RunStore
from depthweave.search.study.checksummed_journal import has_valid_checksum
from depthweave.search.study.journal import ARCHITECTURE, JOURNAL, OBJECTIVES_STUDY


def unrecorded_trials(store: RunStore) -> list[int]:
    """Returns the numbers of the trials that have ended in the journal and have no readable record.

    Returns none where the journal is missing or damaged: then `--resume` rebuilds it from the records.
    """
    if not store.has_file(JOURNAL):
        return []
    try:
        # The last line may be half written.
        lines = [line for line in store.read_bytes(JOURNAL).splitlines(keepends=True) if line.endswith(b"\n")]
        ended = _ended_trials(map(json.loads, lines))
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    # After the journal: a search writes a trial's record before its end is in the journal.
    records = store.records()
    numbers, architectures = {item.trial for item in records}, {item.architecture_id for item in records}
    lacking = [number for number, name in ended.items() if number not in numbers and name not in {*architectures, None}]
    # Only where it matters: checksums take longer than everything else here.
    intact = not lacking or all(has_valid_checksum(json.loads(line)) for line in lines)
    return sorted(lacking) if intact else []


def _ended_trials(entries: Iterable[dict[str, Any]]) -> dict[int, str | None]:
    """Returns the architecture of every trial of the objectives study that has ended, by number."""
    studies: list[str] = []
    # Optuna numbers the trials of all studies together, in the order of their lines.
    entered: list[int | None] = []
    architectures: dict[int, str] = {}
    ended, num_trials = set(), 0
    for entry in entries:
        operation = entry["op_code"]
        if operation == JournalOperation.CREATE_STUDY:
            studies.append(entry["study_name"])
            continue
        if operation == JournalOperation.CREATE_TRIAL:
            is_ours = studies[entry["study_id"]] == OBJECTIVES_STUDY
            entered.append(num_trials if is_ours else None)
            num_trials += is_ours
            number = entered[-1]
        else:
            number = entered[entry["trial_id"]] if "trial_id" in entry else None
        if number is None:
            continue
        # A line that creates a trial has all its attributes, another line one of them.
        attributes = entry.get("user_attr") or entry.get("user_attrs") or {}
        if ARCHITECTURE in attributes:
            architectures[number] = attributes[ARCHITECTURE]
        if "state" in entry and TrialState(entry["state"]).is_finished():
            ended.add(number)
    return {number: architectures.get(number) for number in ended}
