"""The book of a run: every trial in flight, from being asked for to being recorded.

The Ray searcher and scheduler are thin: what they learn goes into the book, which tells Optuna how a trial ended and
writes its record. The record is written before Optuna hears: a crash in between is mended when the run continues.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

from depthweave.reports.objectives import OBJECTIVES
from depthweave.reports.records import Record
from depthweave.reports.store import RunStore
from depthweave.search.entry import Entry, Listener
from depthweave.search.recording import RecordMaker, outcome_of
from depthweave.search.studies import Studies
from depthweave.search.trial import TrialReport, drop_checkpoint, trial_folder
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import Candidate, SearchSpace


class Book:
    """Trials in flight, by the name that the executor gave them. One book a run and process."""

    def __init__(
        self,
        *,
        store: RunStore,
        studies: Studies,
        space: SearchSpace,
        maker: RecordMaker,
        checkpoints: Path,
        max_trials: int,
        max_concurrent: int,
        listener: Listener,
    ) -> None:
        self._store, self._studies, self._space, self._maker = store, studies, space, maker
        self._checkpoints = checkpoints
        self._max_trials, self._max_concurrent = max_trials, max_concurrent
        self._listener = listener
        self._objectives = store.info.objectives
        self._entries: dict[str, Entry] = {}
        self._space_exhausted = False
        self.closed = False
        """True once the search ends: what the executor says while it is taken down is not heard."""
        self.records: list[Record] = store.records()
        self._known = {item.architecture_id: item for item in self.records if item.seed == maker.recipe.seed}
        self._check_same_trials()
        self._mend()

    @property
    def ended(self) -> bool:
        """Whether no further trial will be asked for."""
        return self._space_exhausted or len(self.records) + len(self._entries) >= self._max_trials

    def next(self, name: str) -> Entry | None:
        """The next trial, entered under the executor's name for it; `None` where none is to be started now."""
        if self.closed or self.ended or len(self._entries) >= self._max_concurrent:
            return None
        asked = self._studies.ask()
        # An architecture that is known is answered from its record, never trained again.
        while asked is not None and asked.architecture_id in self._known:
            self._tell(self._known[asked.architecture_id], number=asked.number)
            asked = self._studies.ask()
        if asked is None:
            self._space_exhausted = True
            return None
        entry = Entry(number=asked.number, candidate=self._space[asked.architecture_id], started_at=datetime.now(UTC))
        self._entries[name] = entry
        self._listener.on_start(entry)
        return entry

    def report(self, name: str, report: TrialReport) -> None:
        """Enter what a trial reports: its costs the first time, its new evaluations."""
        entry = self._entries.get(name)
        if entry is None or self.closed:
            return
        if entry.last_report is None:
            self._studies.set_costs(entry.number, self._costs(entry.candidate, report))
        for item in entry.hear(report):
            if math.isfinite(item.loss):
                self._studies.report(entry.number, evaluation=item.index + 1, loss=item.loss)
        self._listener.on_evaluation(entry)

    def stops(self, name: str) -> bool:
        """Whether the pruner stops the trial now. The reference is never stopped: every search trains it."""
        entry = self._entries.get(name)
        if entry is None or self.closed or not entry.evaluations or entry.evaluations[-1].diverged:
            return False
        if entry.candidate.architecture.id == self._maker.reference_id:
            return False
        if self._studies.should_stop(entry.number):
            entry.stop_reason = f"stopped by the pruner after evaluation {len(entry.evaluations)}"
        return entry.stop_reason is not None

    def fail(self, name: str, error: str) -> None:
        """Remember why a trial crashed; it may be tried again."""
        if name in self._entries:
            self._entries[name].error = error
            self._entries[name].crashes += 1

    def finish(self, name: str, *, crashed: bool) -> None:
        """The trial ended: record it, then tell Optuna."""
        entry = self._entries.get(name)
        if entry is None or self.closed:
            return
        rows = self._maker.rows(entry, outcome=outcome_of(entry, crashed=crashed, steps=self._maker.recipe.steps))
        self._store.append(rows.record, evaluations=rows.evaluations, weights=rows.weights)
        self._tell(rows.record, number=entry.number)
        self._drop_checkpoint(rows.record)
        del self._entries[name]
        self.records.append(rows.record)
        self._known[rows.record.architecture_id] = rows.record
        self._listener.on_finish(rows.record)

    def close(self) -> None:
        """Nothing more is heard; trials in flight wait for the run to be continued."""
        if not self.closed:
            self.closed = True
            self._studies.release()

    def _mend(self) -> None:
        """After a kill: tell Optuna of trials that were recorded just before it, and let the others wait."""
        recorded = {item.trial: item for item in self.records}
        for number in self._studies.running():
            if number in recorded:
                self._tell(recorded[number], number=number)
                self._drop_checkpoint(recorded[number])
        self._studies.release()

    def _check_same_trials(self) -> None:
        """Raises `ValueError` where the journal lacks trials of the records: new ones would take their numbers."""
        trials = self._studies.trials
        for record in self.records:
            known = record.trial < len(trials) and self._studies.architecture_id(trials[record.trial])
            if known != record.architecture_id:
                raise ValueError(
                    f"{self._store.where}/study.journal does not know trial {record.trial} of the records "
                    f"({record.architecture_id}): restore the journal, or start a new run"
                )

    def _drop_checkpoint(self, record: Record) -> None:
        drop_checkpoint(trial_folder(self._checkpoints, record.trial), keep_weights=record.state == "complete")

    def _tell(self, record: Record, *, number: int) -> None:
        values = [getattr(record, name) for name in self._objectives]
        if record.state == "pruned":
            self._studies.stop(number, reason=record.reason or "")
        elif record.state == "complete" and all(value is not None and math.isfinite(value) for value in values):
            assert record.loss is not None
            self._studies.complete(number, values=values, loss=record.loss)
        else:
            self._studies.fail(number, reason=record.reason or "an objective is missing")

    def _costs(self, candidate: Candidate, report: TrialReport) -> dict[str, float]:
        measured, known = report.measurement, costs_of(candidate.architecture)
        values = {
            "latency": measured.latency,
            "step_latency": measured.step_latency,
            "memory_bytes": measured.memory_bytes,
            "forward_memory_bytes": measured.forward_memory_bytes,
            "parameters": known.parameters,
            "forward_flops": known.forward_flops,
        }
        costs = {name: values[name] for name in self._objectives if OBJECTIVES[name].cost}
        # One that was not measured counts as boundless: it stops nobody who is measured.
        return {name: math.inf if value is None else float(value) for name, value in costs.items()}
