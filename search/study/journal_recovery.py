"""A study journal that is damaged, or lacks what the records hold, is made again of the records and the checkpoints.

A line that cannot be read is no loss of one line: Optuna numbers trials by the lines before them, so that nothing after
it means what it meant. But every trial that ended has its record and its losses, and one in flight its checkpoint.
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
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.paused_trials import costs_among
from depthweave.search.study.checksummed_journal import has_valid_checksum
from depthweave.search.study.studies import OBJECTIVES_STUDY, Studies
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.trial import read_architecture_id, read_progress
from depthweave.spaces.regular import check_regular
from depthweave.trainers.tasks import AnyTask, task_of


def tell(studies: Studies, record: Record, *, number: int, objectives: Sequence[str]) -> None:
    """Optuna hears how a running trial ended, as its record says."""
    values = [getattr(record, name) for name in objectives]
    if record.state == "pruned":
        studies.stop(number, reason=record.reason or "")
    elif record.state == "complete" and all(value is not None and math.isfinite(value) for value in values):
        assert record.loss is not None
        studies.complete(number, values=values, loss=record.loss)
    else:
        studies.fail(number, reason=record.reason or "an objective is missing")


def set_aside_damaged(journal: Path) -> str | None:
    """A journal with a line that is none stands under another name; one line that says so, `None` where it is whole.

    The last line may lack its end: that one was never heard of, and is dropped where the journal is opened.
    """
    if not journal.exists():
        return None
    check_regular(journal)
    place = damaged_line(journal)
    if place is None:
        return None
    aside = set_aside(journal)
    return f"{journal}: line {place} is damaged; it is set aside as {aside.name} and made again of the records"


def set_aside(journal: Path) -> Path:
    """The journal stands under another name, which is answered."""
    aside = journal.with_name(f"{journal.name}.corrupt")
    for number in range(1, 1000):
        if not aside.exists():
            break
        aside = journal.with_name(f"{journal.name}.corrupt-{number}")
    journal.rename(aside)
    return aside


def first_unknown(studies: Studies, records: Iterable[Record]) -> Record | None:
    """The first record whose trial the journal lacks, or knows as another architecture's; `None` where it has all."""
    trials = studies.trials
    for record in records:
        known = record.trial < len(trials) and studies.architecture_id(trials[record.trial])
        if known != record.architecture_id:
            return record
    return None


def asked_before(journal: Path, *, parameters: Parameters) -> dict[int, str]:
    """Trial to architecture, of those that the journal's lines before the first damaged one say were begun."""
    place = damaged_line(journal)
    with tempfile.TemporaryDirectory(prefix="depthweave-") as folder, journal.open("rb") as file:
        copy = Path(folder) / journal.name
        with copy.open("wb") as readable:
            # A last line without its end is none.
            readable.writelines(
                line for line in islice(file, None if place is None else place - 1) if line[-1:] == b"\n"
            )
        try:
            storage = JournalStorage(JournalFileBackend(str(copy)))
            trials = optuna.load_study(study_name=OBJECTIVES_STUDY, storage=storage).get_trials(deepcopy=False)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError):
            # Lines of JSON that no Optuna wrote.
            return {}
    # One that waits to be asked for has no parameters of its own.
    found = {item.number: parameters.architecture_id(item.params) for item in trials}
    return {number: item for number, item in found.items() if item is not None}


def rebuild(
    studies: Studies,
    *,
    store: RunStore,
    parameters: Parameters,
    checkpoints: Checkpoints,
    asked: Mapping[int, str] | None = None,
) -> int:
    """The empty studies hold every trial that has a record or a checkpoint, under its number; answers how many.

    Those in flight run, as after a kill, and so do those that were `asked` for and have neither. A number that nothing
    is known of any more is a failed trial.
    """
    objectives = store.info.objectives
    recorded = {item.trial: item for item in searched(store.records()) if item.architecture_id in parameters.known}
    in_flight = _in_flight(checkpoints, without=recorded, parameters=parameters, task=task_of(store.info.task))
    taken = {*in_flight.values(), *(item.architecture_id for item in recorded.values())}
    for number, asked_id in (asked or {}).items():
        if number not in recorded and number not in in_flight and asked_id not in taken:
            in_flight[number] = asked_id
            taken.add(asked_id)
    losses = defaultdict(list)
    for row in store.evaluations().select(["trial", "loss"]).to_pylist():
        losses[row["trial"]].append(row["loss"])
    for number in range(max([*recorded, *in_flight], default=-1) + 1):
        record, architecture_id = recorded.get(number), in_flight.get(number)
        if record is not None:
            studies.restore(number, record.architecture_id)
            values = {name: getattr(record, name) for name in objectives}
            studies.set_costs(number, costs_among(objectives, values))
            _report(studies, number, losses[number])
            tell(studies, record, number=number, objectives=objectives)
        elif architecture_id is not None:
            studies.restore(number, architecture_id)
            progress = read_progress(checkpoints, number)
            _report(studies, number, [] if progress is None else [item.loss for item in progress.evaluations])
        else:
            studies.restore(number, None)
    return len(recorded) + len(in_flight)


def _report(studies: Studies, number: int, losses: Sequence[float]) -> None:
    for index, loss in enumerate(losses, 1):
        if math.isfinite(loss):
            studies.report(number, evaluation=index, loss=loss)


def _in_flight(
    checkpoints: Checkpoints, *, without: dict[int, Record], parameters: Parameters, task: AnyTask
) -> dict[int, str]:
    """Trial to architecture, of those that can go on."""
    found: dict[int, str] = {}
    for number in checkpoints.numbers():
        if number >= FIRST_CONFIRMATION or number in without:
            continue
        architecture_id = read_architecture_id(checkpoints.fetch(number), task=task)
        taken = {*found.values(), *(item.architecture_id for item in without.values())}
        if architecture_id in parameters.known and architecture_id not in taken:
            found[number] = architecture_id
    return found


def damaged_line(journal: Path) -> int | None:
    """The first damaged line of the journal, from 1; `None` where all but the last are whole, or without a file."""
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
