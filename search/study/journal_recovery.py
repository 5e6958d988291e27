"""Rebuilds a study journal that is damaged or incomplete from the records and the checkpoints.

A damaged line cannot simply be skipped: Optuna numbers trials by the lines before them, so the lines after it would
refer to other trials. But every trial that ended has its record and its losses, and a running one has its checkpoint.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION, searched
from depthweave.reports.store.objectives import column_value
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.samplers.distinct import started_params_of
from depthweave.search.study.checksummed_journal import has_valid_checksum
from depthweave.search.study.journal import OBJECTIVES_STUDY
from depthweave.search.study.studies import Studies, tell
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.recording import costs_among
from depthweave.search.trials.trial import read_architecture, read_progress
from depthweave.spaces.regular import check_regular
from depthweave.trainers.tasks import AnyTask, task_of


def set_aside_damaged(journal: Path) -> str | None:
    """Moves a damaged journal aside and returns a message about it; `None` if the journal is intact.

    An incomplete last line is no damage: it is dropped when the journal is opened.
    """
    if not journal.exists():
        return None
    check_regular(journal)
    number = damaged_line(journal)
    if number is None:
        return None
    aside = set_aside(journal)
    rebuilt = "rebuilt from the records and checkpoints"
    return f"{journal}: line {number} is damaged; it is set aside as {aside.name} and {rebuilt}"


def set_aside(journal: Path) -> Path:
    """Renames the journal and returns its new path."""
    aside = journal.with_name(f"{journal.name}.corrupt")
    for number in range(1, 1000):
        if not aside.exists():
            break
        aside = journal.with_name(f"{journal.name}.corrupt-{number}")
    journal.rename(aside)
    return aside


def first_missing_record(studies: Studies, records: Iterable[Record]) -> Record | None:
    """Returns the first record whose trial is missing in the journal, or has another architecture there."""
    trials = studies.trials
    for record in records:
        known = record.trial < len(trials) and studies.architecture_id(trials[record.trial])
        if known != record.architecture_id:
            return record
    return None


def started_architectures(journal: Path, *, parameters: Parameters) -> dict[int, str]:
    """Returns the architecture of every started trial by its number, from the lines before the first damaged one."""
    damaged = damaged_line(journal)
    with tempfile.TemporaryDirectory(prefix="depthweave-") as folder, journal.open("rb") as file:
        copy = Path(folder) / journal.name
        with copy.open("wb") as readable:
            # Without an incomplete last line.
            readable.writelines(
                line for line in islice(file, None if damaged is None else damaged - 1) if line[-1:] == b"\n"
            )
        try:
            storage = JournalStorage(JournalFileBackend(str(copy)))
            trials = optuna.load_study(study_name=OBJECTIVES_STUDY, storage=storage).get_trials(deepcopy=False)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError):
            # The lines are JSON but no journal of Optuna.
            return {}
    # A trial that is only enqueued has no parameters yet.
    architectures = {item.number: parameters.architecture_id(started_params_of(item)) for item in trials}
    return {number: item for number, item in architectures.items() if item is not None}


def rebuild(
    studies: Studies,
    *,
    store: RunStore,
    parameters: Parameters,
    checkpoints: Checkpoints,
    started: Mapping[int, str] | None = None,
) -> int:
    """Fills empty studies with every trial that has a record or a checkpoint, and returns their number.

    Trials keep their numbers. Unfinished ones are set to running, as after a kill. `started` holds the architectures of
    started trials by number; those without record and checkpoint are unfinished too. A number about which nothing is
    known becomes a failed trial.
    """
    objectives = store.info.objectives
    recorded = {item.trial: item for item in searched(store.records()) if item.architecture_id in parameters.known}
    task = task_of(store.info.task)
    unfinished = _unfinished(checkpoints, recorded=recorded, parameters=parameters, task=task)
    taken = {*unfinished.values(), *(item.architecture_id for item in recorded.values())}
    for number, started_id in (started or {}).items():
        if number not in recorded and number not in unfinished and started_id not in taken:
            unfinished[number] = started_id
            taken.add(started_id)
    losses = defaultdict(list)
    for row in store.evaluations().select(["trial", "loss"]).to_pylist():
        losses[row["trial"]].append(row["loss"])
    for number in range(max([*recorded, *unfinished], default=-1) + 1):
        record, architecture_id = recorded.get(number), unfinished.get(number)
        if record is not None:
            studies.restore(number, record.architecture_id)
            values = {name: column_value(record, name) for name in objectives}
            studies.set_costs(number, costs_among(objectives, values))
            _report(studies, number, losses[number])
            tell(studies, record, number=number, objectives=objectives)
        elif architecture_id is not None:
            studies.restore(number, architecture_id)
            progress = read_progress(checkpoints, number)
            _report(studies, number, [] if progress is None else [item.loss for item in progress.evaluations])
        else:
            studies.restore(number, None)
    return len(recorded) + len(unfinished)


def _report(studies: Studies, number: int, losses: Sequence[float]) -> None:
    for index, loss in enumerate(losses, 1):
        if math.isfinite(loss):
            studies.report(number, evaluation=index, loss=loss)


def _unfinished(
    checkpoints: Checkpoints, *, recorded: dict[int, Record], parameters: Parameters, task: AnyTask
) -> dict[int, str]:
    """Returns the architectures of the trials that have a checkpoint and no record, by trial number."""
    found: dict[int, str] = {}
    for number in checkpoints.numbers():
        if number >= FIRST_CONFIRMATION or number in recorded:
            continue
        architecture = read_architecture(checkpoints.fetch(number), task=task)
        architecture_id = None if architecture is None else parameters.adopted(architecture)
        taken = {*found.values(), *(item.architecture_id for item in recorded.values())}
        if architecture_id is not None and architecture_id not in taken:
            found[number] = architecture_id
    return found


def damaged_line(journal: Path) -> int | None:
    """Returns the number of the first damaged line, counted from 1; `None` without one or without a journal.

    An incomplete last line does not count.
    """
    if not journal.exists():
        return None
    with journal.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return None
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                return number
            if (
                not isinstance(entry, dict)
                or not isinstance(entry.get("op_code"), int)
                or not has_valid_checksum(entry)
            ):
                return number
    return None
