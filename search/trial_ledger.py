"""The book of a run: every trial in flight, from being asked for to being recorded.

The Ray searcher and scheduler are thin: what they learn goes into the book, which tells Optuna how a trial ended and
writes its record. The record is written before Optuna hears: a crash in between is mended when the run continues.

With a chooser a trial may pause at a rung. Ray takes it for ended and Optuna for running; it has no record before it
ends, or before it is clear that nobody goes on with it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict, deque
from contextlib import suppress
from datetime import UTC, datetime

from depthweave.reports.analysis.seeds import searched
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.failures.streak import Streak
from depthweave.search.paused_trials import PausedTrials, Work, costs_among
from depthweave.search.pruners.chooser import NEW, Chooser
from depthweave.search.study.journal_recovery import first_unknown, tell
from depthweave.search.study.reopening import in_force, trained_again
from depthweave.search.study.studies import Conclusion, Studies
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import Listener, LiveTrial
from depthweave.search.trials.recording import RecordMaker, outcome_of
from depthweave.search.trials.trial import TrialReport, read_progress
from depthweave.search.trials.weight_retention import WeightRetention
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import Candidate, SearchSpace


class TrialLedger:
    """Trials in flight, by the name that the executor gave them. One book a run and process.

    Without a chooser the Optuna pruner of the studies says which trials stop.
    """

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
        self._store, self._studies, self._space, self._maker = store, studies, space, maker
        self._checkpoints = checkpoints
        self._max_trials, self._max_concurrent, self._retries = max_trials, max_concurrent, retries
        self._listener = listener
        self._objectives = store.info.objectives
        self._live: dict[str, LiveTrial] = {}
        self._paused = None if chooser is None else PausedTrials(chooser, objectives=self._objectives)
        # Crashed, and to be tried again before anything else.
        self._again: deque[LiveTrial] = deque() if self._paused is None else self._paused.first
        self._space_exhausted = False
        self._audited = False
        """Whether the audits have been drawn: after them pauses have an end."""
        self._audits: tuple[int, ...] = ()
        self._concluded = False
        self.closed = False
        """True once the search ends: what the executor says while it is taken down is not heard."""
        self._trained_again = trained_again(studies)
        self._streak = Streak()
        # A confirmation's trials, with other seeds, stand in no study.
        self.records: list[Record] = in_force(searched(store.records()), self._trained_again)
        self._known = {item.architecture_id: item for item in self.records if item.seed == maker.recipe.seed}
        self._retention = WeightRetention(self._objectives)
        self._check_same_trials()
        self._reconcile()
        if self._paused is not None:
            self._adopt(self._paused)

    @property
    def ended(self) -> bool:
        """Whether nothing runs, and no trial will be started or go on any more."""
        # What runs may crash, and then goes on.
        return not self._live and self._nothing_left

    @property
    def paused(self) -> list[LiveTrial]:
        """The trials that wait at a rung."""
        return [] if self._paused is None else list(self._paused.paused.values())

    def next(self, name: str) -> LiveTrial | None:
        """The next trial, new or paused, entered under the executor's name for it; `None` where there is none now.

        Where nothing runs there is one, or the search has `ended`.
        """
        if self.closed or self._nothing_left or len(self._live) >= self._max_concurrent:
            return None
        if self._paused is not None:
            live = self._picked(self._paused)
        else:
            live = self._again.popleft() if self._again else self._new()
        if live is not None:
            self._live[name] = live
            self._listener.on_start(live)
        return live

    def report(self, name: str, report: TrialReport) -> None:
        """Enter what a trial reports: its costs the first time, its new evaluations."""
        live = self._live.get(name)
        if live is None or self.closed:
            return
        if live.last_report is None:
            live.costs = self._costs(live.candidate, report)
            self._studies.set_costs(live.number, live.costs)
        for item in live.hear(report):
            if math.isfinite(item.loss):
                self._studies.report(live.number, evaluation=item.index + 1, loss=item.loss)
        if self._paused is not None:
            self._paused.changed()
        self._listener.on_evaluation(live)

    def stops(self, name: str) -> bool:
        """Whether the trial is to leave its worker now: the pruner stops it for good, or the chooser lets it pause.

        The reference never does: every search trains it.
        """
        live = self._live.get(name)
        if live is None or self.closed or not live.evaluations or live.evaluations[-1].diverged:
            return False
        if live.end_is_known:
            return live.stops_as_before()
        if self._paused is not None:
            if not self._may_pause(live, self._paused):
                return False
            if self._paused.keeps(live, self._live.values(), may_start=self._may_start):
                return False
            del self._live[name]
            self._paused.pause(live)
            self._listener.on_pause(live)
            return True
        if not self._is_reference(live) and self._studies.should_stop(live.number):
            live.stop_reason = f"stopped by the pruner after evaluation {len(live.evaluations)}"
        return live.stop_reason is not None

    def fail(self, name: str, error: str, *, node_lost: bool = False) -> None:
        """Remember why a trial crashed."""
        if name in self._live and not self.closed:
            self._live[name].crash(error, node_lost=node_lost)

    def finish(self, name: str, *, crashed: bool) -> None:
        """The trial ended: record it, then tell Optuna. One that crashed and may be tried again goes on first.

        Raises `OneCauseError` after too many failures of one cause in a row.
        """
        live = self._live.get(name)
        if live is None or self.closed:
            return
        if crashed and live.may_retry(self._retries):
            self._again.append(live)
            del self._live[name]
            return
        record = self._record(live, crashed=crashed)
        del self._live[name]
        self._streak.hear(record)

    def ignore_events(self) -> None:
        """Nothing more is heard: workers that are taken down crash through no fault of theirs."""
        self.closed = True

    def close(self) -> None:
        """Nothing more is heard; trials in flight wait for the run to be continued."""
        self.ignore_events()
        # On a full disk nothing is released: the book that is opened next does it.
        with suppress(OSError):
            self._studies.release()

    @property
    def _nothing_left(self) -> bool:
        """Whether no trial is to be given to a worker, now or later, unless one that runs crashes."""
        if self._paused is None:
            return not self._again and not self._may_start
        return self._concluded and not self._paused.first

    @property
    def _may_start(self) -> bool:
        """Whether another architecture may be started."""
        waiting = len(self._again) if self._paused is None else self._paused.waiting
        num_started = len(self.records) + len(self._live) + waiting
        return not self._space_exhausted and num_started < self._max_trials

    def _is_reference(self, live: LiveTrial) -> bool:
        return live.candidate.architecture.id == self._maker.reference_id

    def _may_pause(self, live: LiveTrial, paused: PausedTrials) -> bool:
        """Whether the trial stands at a rung that counts for it."""
        is_last = bool(live.evaluations) and live.evaluations[-1].step == self._maker.recipe.steps
        may = not is_last and not live.audit and not live.end_is_known and not self._is_reference(live)
        return may and paused.is_rung(live)

    def _new(self) -> LiveTrial | None:
        """Another architecture; `None` where all have been tried."""
        asked = self._studies.ask()
        # An architecture that is known is answered from its record, never trained again.
        while asked is not None and asked.architecture_id in self._known:
            tell(
                self._studies,
                self._known[asked.architecture_id],
                number=asked.number,
                objectives=self._objectives,
            )
            asked = self._studies.ask()
        # A chooser is told beforehand whether there is anything new.
        self._space_exhausted = asked is None or (self._paused is not None and self._studies.exhausted)
        if asked is None:
            return None
        return self._live_trial(asked.number, asked.architecture_id)

    def _live_trial(self, number: int, architecture_id: str) -> LiveTrial:
        again = self._trained_again.get(number)
        return LiveTrial(
            number=number, candidate=self._space[architecture_id], started_at=datetime.now(UTC), again=again
        )

    def _picked(self, paused: PausedTrials) -> LiveTrial | None:
        """What the chooser gives a free worker. When it has nothing, and nothing runs, pauses have an end."""
        while not self._nothing_left:
            work = self._work(paused)
            if work == NEW:
                work = self._new()
            elif work is None and not self._live:
                self._conclude(paused)
            elif work is None:
                return None
            if isinstance(work, LiveTrial):
                return work
        return None

    def _work(self, paused: PausedTrials) -> Work:
        """What the chooser wants done; once the audits are drawn it is asked only where one of them is a surprise."""
        if self._audited and not paused.first and not paused.contradicted_by(self._audits):
            return None
        return paused.pick(self._live.values(), may_start=self._may_start)

    def _conclude(self, paused: PausedTrials) -> None:
        """The chooser has no use for any paused trial: first the audits go on, and where they change nothing, all ends.

        An audit that ends on the front gives others hope again, so these wait until the audits have ended.
        """
        if self._audited:
            self._stop_paused(paused)
            return
        before, audits = self._studies.conclusion, paused.audits()
        known = () if before is None else before.audits
        self._audits = tuple(sorted({*known, *audits}))
        self._studies.conclude(Conclusion(self._max_trials, self._audits))
        self._audited = True
        for number in sorted(audits):
            live = paused.paused.pop(number)
            live.audit = True
            paused.first.append(live)

    def _stop_paused(self, paused: PausedTrials) -> None:
        """All paused trials were stopped for good."""
        for number in sorted(paused.paused):
            live = paused.paused.pop(number)
            num_evaluations = len(live.evaluations)
            live.stop_reason = f"paused by the pruner after evaluation {num_evaluations} and not taken up again"
            self._replay_reports(live, num_evaluations=num_evaluations)
            self._record(live, crashed=False)
        self._concluded = True

    def _adopt(self, paused: PausedTrials) -> None:
        """Trials of an earlier part of the run: those at a rung are paused, the others go on first."""
        losses = defaultdict(list)
        for row in self._store.evaluations().select(["trial", "loss"]).to_pylist():
            losses[row["trial"]].append(row["loss"])
        heard = self._studies.losses()
        for record in self.records:
            # Where its evaluations are gone, what Optuna heard of them is all that is known.
            paused.settle(record, losses[record.trial] or heard.get(record.trial, ()))
        conclusion = self._studies.conclusion
        for begun in self._studies.begun():
            live = self._live_trial(begun.number, begun.architecture_id)
            live.audit = conclusion is not None and begun.number in conclusion.audits
            self._replay_reports(live, num_evaluations=begun.num_reported)
            if self._may_pause(live, paused):
                paused.pause(live)
            else:
                paused.first.append(live)
            self._studies.go_on(live.number)
        self._space_exhausted = self._studies.exhausted
        self._audited = conclusion is not None and conclusion.max_trials >= self._max_trials
        self._audits = () if conclusion is None else conclusion.audits
        self._concluded = self._audited and not paused.waiting

    def _replay_reports(self, live: LiveTrial, *, num_evaluations: int) -> None:
        """Enter what a trial had reported, from its checkpoint; without one, or without a report, it begins anew."""
        progress = read_progress(self._checkpoints, live.number)
        if progress is not None and num_evaluations:
            live.costs = self._costs(live.candidate, progress)
            live.hear(dataclasses.replace(progress, evaluations=progress.evaluations[:num_evaluations]))

    def _record(self, live: LiveTrial, *, crashed: bool) -> Record:
        maker = self._maker
        outcome = outcome_of(live, crashed=crashed, steps=maker.recipe.steps, max_loss=maker.task.quality.max_loss)
        rows = maker.rows(live, outcome=outcome)
        self._store.append(rows.record, evaluations=rows.evaluations, weights=rows.weights)
        tell(self._studies, rows.record, number=live.number, objectives=self._objectives)
        self._drop_checkpoint(rows.record)
        self.records.append(rows.record)
        self._known[rows.record.architecture_id] = rows.record
        if self._paused is not None:
            self._paused.settle(rows.record, [item.loss for item in rows.evaluations])
        self._listener.on_finish(rows.record)
        return rows.record

    def _reconcile(self) -> None:
        """After a kill: tell Optuna of trials that were recorded just before it, and let the others wait."""
        recorded = {item.trial: item for item in self.records}
        for begun in self._studies.begun():
            if begun.number in recorded:
                self._studies.go_on(begun.number)
        for number in self._studies.running():
            if number in recorded:
                tell(self._studies, recorded[number], number=number, objectives=self._objectives)
        there = set(self._checkpoints.numbers())
        for record in self.records:
            self._drop_checkpoint(record, there=record.trial in there)
        self._studies.release()

    def _check_same_trials(self) -> None:
        """Raises `ValueError` where the journal lacks trials of the records: new ones would take their numbers."""
        record = first_unknown(self._studies, self.records)
        if record is not None:
            raise ValueError(
                f"{self._store.where}/study.journal does not know trial {record.trial} of the records "
                f"({record.architecture_id}): restore the journal, or start a new run"
            )

    def _drop_checkpoint(self, record: Record, *, there: bool = True) -> None:
        """Less is kept of a trial that ended, and of others that it beats; `there`: whether anything is kept of it."""
        complete = record.state == "complete"
        if there:
            self._checkpoints.drop(record.trial, keep_weights=complete)
        if complete:
            for gone in self._retention.add(record):
                self._checkpoints.drop(gone.trial, keep_weights=False)

    def _costs(self, candidate: Candidate, report: TrialReport) -> dict[str, float]:
        measured, known = report.measurement, costs_of(candidate.architecture)
        values = {
            "latency": measured.latency,
            "step_latency": measured.step_latency,
            "decode_latency": measured.decode_latency,
            "memory_bytes": measured.memory_bytes,
            "forward_memory_bytes": measured.forward_memory_bytes,
            "parameters": known.parameters,
            "forward_flops": known.forward_flops,
        }
        return costs_among(self._objectives, values)
