"""Takes over records of another run: they enter this run's tables under trial numbers of its own, with their weights.

Weights are copied first and the record is written last, as for a trial. Taking over the same record twice changes
nothing, so an interrupted start is repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from depthweave.reports.analysis.source_runs import origin_text
from depthweave.reports.store.arrow_rows import from_table
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_store import RunStore, checkpoint_name
from depthweave.search.scratch import scratch
from depthweave.search.search_run import SearchRun
from depthweave.search.warm_start.selection import Selection
from depthweave.spaces.checksums import CHECKSUM_SUFFIX, ChangedError, verify_checksum
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.spaces.space import Candidate

_Row = TypeVar("_Row", EvaluationRow, WeightRow)
_MEASURED = (*(column for item in OBJECTIVES.values() for column in item.measured_columns), "latency_noise")
_TEST = ("test_loss", "test_perplexity", "test_bits_per_byte", "test_error", "test_f1")
"""A search knows no test part; a confirmation of the source may have read it."""


def take_over(run: SearchRun, selections: Sequence[Selection]) -> list[dict[int, int]]:
    """Takes over the selected records of each source. Returns for each source this run's trials and the source's.

    Raises `ValueError`, one line, where an interrupted start took over other records than are selected now.
    """
    numbers: list[dict[int, int]] = []
    for selection in selections:
        first = sum(map(len, numbers))
        numbers.append({first + place: record.trial for place, record in enumerate(selection.taken)})
    _check_same_start(run.store, selections, numbers)
    for selection, own in zip(selections, numbers, strict=True):
        _take_over_source(run, selection, own)
    return numbers


def _take_over_source(run: SearchRun, selection: Selection, numbers: dict[int, int]) -> None:
    source = selection.source.store
    trials = set(numbers.values())
    evaluations = _by_trial(from_table(source.evaluations(trials), row_class=EvaluationRow))
    weights = _by_trial(from_table(source.weights(trials), row_class=WeightRow))
    for number, record in zip(numbers, selection.taken, strict=True):
        copied = _copy_weights(source, record.trial, run.store, number, note=run.progress.on_note)
        if not copied:
            # Of an interrupted start.
            run.checkpoints.drop(number, keep_weights=False)
        own = taken_record(
            record,
            run=run,
            number=number,
            candidate=run.prepared.space[record.architecture_id],
            measured_alike=record.trial in selection.measured_alike,
        )
        run.store.append(
            own,
            evaluations=[replace(row, run_id=own.run_id, trial=number) for row in evaluations[record.trial]],
            weights=[replace(row, run_id=own.run_id, trial=number) for row in weights[record.trial]],
        )


def taken_record(record: Record, *, run: SearchRun, number: int, candidate: Candidate, measured_alike: bool) -> Record:
    """Returns the record as one of this run. Costs that were measured in another way are left out."""
    info, rule = run.store.info, candidate.rule
    stride = None if rule is None else rule.stride
    left_out: dict[str, Any] = dict.fromkeys(_TEST if measured_alike else (*_TEST, *_MEASURED))
    return replace(
        record,
        run_id=info.run_id,
        trial=number,
        taken_from=record.taken_from or origin_text(record.run_id, record.trial),
        reference=record.architecture_id == info.reference_id,
        # An audit says something of the pruner of its own run.
        audit=False,
        # The same graph may have another name in this space.
        rule=None if rule is None else rule.text,
        dilation=None if stride is None else stride.dilation,
        period=None if stride is None else stride.period,
        budget=candidate.budget,
        corpus=run.prepared.data.corpus,
        # The front is measured in turn at the end, these among the others.
        trial_latency=None,
        **left_out,
    )


def _by_trial(rows: Iterable[_Row]) -> Mapping[int, list[_Row]]:
    found: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        found[row.trial].append(row)
    return found


def _copy_weights(source: RunStore, trial: int, target: RunStore, number: int, *, note: Callable[[str], None]) -> bool:
    """Copies the weights of a trial; returns whether the source has them and their checksum is right."""
    name, own = (f"{checkpoint_name(item)}/{MODEL_FILE}" for item in (trial, number))
    if not source.has_file(name) or not source.has_file(f"{name}{CHECKSUM_SUFFIX}"):
        return False
    with scratch("warm-start") as folder:
        path = Path(folder) / MODEL_FILE
        beside = path.with_name(f"{MODEL_FILE}{CHECKSUM_SUFFIX}")
        source.copy_out(name, path)
        beside.write_bytes(source.read_bytes(f"{name}{CHECKSUM_SUFFIX}"))
        try:
            verify_checksum(path, name=f"{source.where}/{name}")
        except ChangedError as error:
            note(f"{error}; its record is taken over without weights")
            return False
        # The checksum file first, as everywhere: a kill in between leaves no weights without one.
        target.storage.copy_in(beside, f"{own}{CHECKSUM_SUFFIX}")
        target.storage.copy_in(path, own)
    return True


def _check_same_start(store: RunStore, selections: Sequence[Selection], numbers: Sequence[dict[int, int]]) -> None:
    """Raises `ValueError` where records of an interrupted start are not among those that are selected now."""
    wanted = {
        number: record.taken_from or origin_text(record.run_id, record.trial)
        for selection, own in zip(selections, numbers, strict=True)
        for number, record in zip(own, selection.taken, strict=True)
    }
    other = next((item for item in store.records() if item.taken_from != wanted.get(item.trial)), None)
    if other is not None:
        raise ValueError(
            f"{store.where}: an interrupted start took over {other.taken_from} as trial {other.trial}, and the sources "
            "have changed since: nothing was trained yet, so delete the folder and start again"
        )
