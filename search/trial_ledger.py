"""The trial ledger of a search: every trial in flight, from its first worker to its record.

The Ray searcher and scheduler are thin: they pass everything on to the ledger, which writes the records and reports to
Optuna how trials end. The record is written before Optuna is informed: a resumed run repairs a crash in between.

Which trial a free worker gets, and which one leaves its worker, is decided by the ledger's queue. A trial may pause: it
then has ended for Ray and runs for Optuna, and it gets its record when it ends or when the search ends without it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from depthweave.reports.analysis.seeds import searched
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.failures.streak import Streak
from depthweave.search.paused_trials import PausedTrials
from depthweave.search.pruners.chooser import NEW, Chooser
from depthweave.search.stop_only import StopOnlyQueue
from depthweave.search.study.journal_recovery import first_missing_record
from depthweave.search.study.reopening import current_records, retrained_trials
from depthweave.search.study.studies import Studies, tell
from depthweave.search.trial_queue import TrialQueue
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import Decision, Listener, LiveTrial
from depthweave.search.trials.recording import RecordMaker, costs_before_training, outcome_of
from depthweave.search.trials.trial import TrialReport, read_progress
from depthweave.search.trials.weight_retention import WeightRetention
from depthweave.spaces.space import SearchSpace


class TrialLedger:
    """Trials in flight, by Ray's names for them. A run has one ledger at a time."""

    def __init__(
        self,
        *,
        store: RunStore,
        studies: Studies,
        space: SearchSpace,
        maker: RecordMaker,
        checkpoints: Checkpoints,
        max_trials: int,
        max_concurrent: int,
        retries: int,
        listener: Listener,
        chooser: Chooser | None = None,
    ) -> None:
        """Continues an earlier part of the run where the store has one.

        With a chooser trials pause. Without one the Optuna pruner of the studies decides which trials stop.
        Raises `ValueError` where the journal lacks trials of the records.
        """
        self._store, self._studies, self._space, self._maker = store, studies, space, maker
        self._checkpoints = checkpoints
        self._max_trials, self._max_concurrent, self._retries = max_trials, max_concurrent, retries
        self._listener = listener
        self._objectives = store.info.objectives
        self._live: dict[str, LiveTrial] = {}
        self._space_exhausted = False
        self.closed = False
        """Whether the search ends: what Ray reports while it shuts down is ignored."""
        self._trained_again = retrained_trials(studies)
        self._streak = Streak()
        # A confirmation's trials have other seeds, and are in no study.
        self.records: list[Record] = current_records(searched(store.records()), self._trained_again)
        self._known = {item.architecture_id: item for item in self.records if item.seed == maker.recipe.seed}
        self._retention = WeightRetention(self._objectives)
        self._check_same_trials()
        self._reconcile()
        self._queue = self._make_queue(chooser)
        self._queue.restore(recorded=self._recorded(), begun=self._begun())

    @property
    def ended(self) -> bool:
        """Whether nothing runs, and no trial starts or continues any more."""
        # A trial that runs may crash and be tried again.
        return not self._live and self._queue.is_done(may_start=self._may_start)

    @property
    def paused(self) -> list[LiveTrial]:
        """The trials that wait at a rung."""
        return self._queue.paused

    def next(self, name: str) -> LiveTrial | None:
        """Returns the next trial, new or paused, which then runs under this name; `None` where no trial is to run now.

        Where nothing runs, there is a next trial or the search has `ended`.
        """
        if self.closed or len(self._live) >= self._max_concurrent:
            return None
        self._look_ahead()
        live = self._next_trial()
        if live is not None:
            self._live[name] = live
            self._listener.on_start(live)
        return live

    def report(self, name: str, report: TrialReport) -> None:
        """Adds a trial's report: its costs the first time, its new evaluations."""
        live = self._live.get(name)
        if live is None or self.closed:
            return
        if live.last_report is None:
            live.costs = self._costs(live, report)
            self._studies.set_costs(live.number, live.costs)
        for item in live.add_report(report):
            if math.isfinite(item.loss):
                self._studies.report(live.number, evaluation=item.index + 1, loss=item.loss)
        self._queue.add_report()
        self._listener.on_evaluation(live)

    def decide(self, name: str) -> Decision:
        """Returns whether the trial continues, pauses or stops after its latest evaluation.

        The reference always continues: every search trains it to its end.
        """
        live = self._live.get(name)
        if live is None or self.closed or not live.evaluations or live.evaluations[-1].diverged:
            return Decision.CONTINUE
        if live.end_is_known:
            return Decision.STOP if live.stops_as_before() else Decision.CONTINUE
        if live.candidate.architecture.id == self._maker.reference_id:
            return Decision.CONTINUE
        self._look_ahead()
        decision = self._queue.decide(live, running=self._live.values(), may_start=self._may_start)
        if decision is Decision.PAUSE:
            del self._live[name]
            self._listener.on_pause(live)
        return decision

    def fail(self, name: str, error: str, *, node_lost: bool = False) -> None:
        """Adds the reason for which a trial crashed."""
        if name in self._live and not self.closed:
            self._live[name].add_crash(error, node_lost=node_lost)

    def finish(self, name: str, *, crashed: bool) -> None:
        """The trial ended: records it, then reports it to Optuna. A crashed trial that may be tried again is next.

        Raises `OneCauseError` after too many failures of one cause in a row.
        """
        live = self._live.get(name)
        if live is None or self.closed:
            return
        if crashed and live.may_retry(self._retries):
            self._queue.add_retry(live)
            del self._live[name]
            return
        record = self._record(live, crashed=crashed)
        del self._live[name]
        self._streak.add(record)

    def ignore_events(self) -> None:
        """Ignores all further calls: workers that are shut down crash through no fault of their trials."""
        self.closed = True

    def close(self) -> None:
        """Ignores all further calls. Trials in flight wait for the run to be resumed."""
        self.ignore_events()
        # On a full disk nothing is released: the next ledger of the run does it.
        with suppress(OSError):
            self._studies.release()

    @property
    def _may_start(self) -> bool:
        """Whether another architecture may be started."""
        num_started = len(self.records) + len(self._live) + self._queue.num_waiting
        return not self._space_exhausted and num_started < self._max_trials

    def _look_ahead(self) -> None:
        """Brings `_may_start` up to date: a queue that is promised a new architecture must get one."""
        self._space_exhausted = self._space_exhausted or self._studies.exhausted

    def _make_queue(self, chooser: Chooser | None) -> TrialQueue:
        if chooser is None:
            return StopOnlyQueue(self._studies)
        return PausedTrials(
            chooser,
            studies=self._studies,
            objectives=self._objectives,
            reference_id=self._maker.reference_id,
            num_steps=self._maker.schedule.steps,
            max_trials=self._max_trials,
        )

    def _next_trial(self) -> LiveTrial | None:
        while not self._queue.is_done(may_start=self._may_start):
            work = self._queue.pick(running=self._live.values(), may_start=self._may_start)
            if work == NEW:
                work = self._new_trial()
            elif work is None and self._live:
                return None
            elif work is None:
                for stopped in self._queue.conclude():
                    self._record_paused(stopped)
            if isinstance(work, LiveTrial):
                return work
        return None

    def _new_trial(self) -> LiveTrial | None:
        """Returns another architecture; `None` where all have been tried."""
        asked = self._studies.ask()
        # An architecture that has a record gets its values, and is never trained again.
        while asked is not None and asked.architecture_id in self._known:
            tell(
                self._studies,
                self._known[asked.architecture_id],
                number=asked.number,
                objectives=self._objectives,
            )
            asked = self._studies.ask()
        if asked is None:
            self._space_exhausted = True
            return None
        return self._live_trial(asked.number, asked.architecture_id)

    def _live_trial(self, number: int, architecture_id: str) -> LiveTrial:
        return LiveTrial(
            number=number,
            candidate=self._space[architecture_id],
            started_at=datetime.now(UTC),
            previous_ending=self._trained_again.get(number),
        )

    def _recorded(self) -> Iterator[tuple[Record, list[float]]]:
        """Yields the records of an earlier part of the run, each with its losses."""
        losses = defaultdict(list)
        for row in self._store.evaluations().select(["trial", "loss"]).to_pylist():
            losses[row["trial"]].append(row["loss"])
        reported = self._studies.losses()
        for record in self.records:
            # Where the evaluations of a record are lost, the study still has the losses.
            yield record, losses[record.trial] or list(reported.get(record.trial, ()))

    def _begun(self) -> Iterator[LiveTrial]:
        """Yields the trials of an earlier part of the run that have not ended, with their reports; they then run."""
        for begun in self._studies.interrupted():
            live = self._live_trial(begun.number, begun.architecture_id)
            self._replay_reports(live, num_evaluations=begun.num_reported)
            yield live
            self._studies.resume(begun.number)

    def _replay_reports(self, live: LiveTrial, *, num_evaluations: int) -> None:
        """Adds what a trial had reported, from its checkpoint. Without a checkpoint it trains from the start."""
        progress = read_progress(self._checkpoints, live.number)
        if progress is not None and num_evaluations:
            live.costs = self._costs(live, progress)
            live.add_report(dataclasses.replace(progress, evaluations=progress.evaluations[:num_evaluations]))

    def _record_paused(self, live: LiveTrial) -> None:
        """Records a paused trial that the search ends without."""
        num_evaluations = len(live.evaluations)
        live.stop_reason = f"paused by the pruner after evaluation {num_evaluations} and not taken up again"
        # The connection weights, which a pause drops.
        self._replay_reports(live, num_evaluations=num_evaluations)
        self._record(live, crashed=False)

    def _record(self, live: LiveTrial, *, crashed: bool) -> Record:
        maker = self._maker
        outcome = outcome_of(live, crashed=crashed, steps=maker.schedule.steps, max_loss=maker.task.quality.max_loss)
        rows = maker.rows(live, outcome=outcome)
        self._store.append(rows.record, evaluations=rows.evaluations, weights=rows.weights)
        tell(self._studies, rows.record, number=live.number, objectives=self._objectives)
        self._drop_checkpoint(rows.record)
        self.records.append(rows.record)
        self._known[rows.record.architecture_id] = rows.record
        self._queue.add_record(rows.record, [item.loss for item in rows.evaluations])
        self._listener.on_finish(rows.record)
        return rows.record

    def _reconcile(self) -> None:
        """Repairs what a kill left: reports recorded trials to Optuna, and lets the others wait."""
        recorded = {item.trial: item for item in self.records}
        for begun in self._studies.interrupted():
            if begun.number in recorded:
                self._studies.resume(begun.number)
        for number in self._studies.running():
            if number in recorded:
                tell(self._studies, recorded[number], number=number, objectives=self._objectives)
        kept = set(self._checkpoints.numbers())
        for record in self.records:
            self._drop_checkpoint(record, exists=record.trial in kept)
        self._studies.release()

    def _check_same_trials(self) -> None:
        """Raises `ValueError` where the journal lacks trials of the records: new ones would take their numbers."""
        record = first_missing_record(self._studies, self.records)
        if record is not None:
            raise ValueError(
                f"{self._store.where}/study.journal does not know trial {record.trial} of the records "
                f"({record.architecture_id}): restore the journal, or start a new run"
            )

    def _drop_checkpoint(self, record: Record, *, exists: bool = True) -> None:
        """Deletes what is no longer needed of a trial that ended, and the weights of the trials that it beats."""
        complete = record.state == "complete"
        if exists:
            self._checkpoints.drop(record.trial, keep_weights=complete)
        if complete:
            for beaten in self._retention.add(record):
                self._checkpoints.drop(beaten.trial, keep_weights=False)

    def _costs(self, live: LiveTrial, report: TrialReport) -> dict[str, float]:
        architecture = live.candidate.architecture
        return costs_before_training(self._objectives, architecture=architecture, measured=report.measurement)
