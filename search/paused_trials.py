"""The queue of a search with a chooser: trials pause at rungs, and the chooser gives free workers their trials.

To Ray a paused trial has ended: its worker is free, and its state is in its checkpoint. It waits here until the chooser
picks it again. What the chooser sees is computed from the records and the live trials alone, so a resumed search
decides as an uninterrupted one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

from depthweave.reports.store.objectives import column_value
from depthweave.reports.store.records import Record
from depthweave.search.pruners.audit import audit_reached_front
from depthweave.search.pruners.chooser import NEW, Chooser, TrialSnapshot
from depthweave.search.study.studies import Conclusion, Studies
from depthweave.search.trial_queue import Work
from depthweave.search.trials.live_trial import Decision, LiveTrial
from depthweave.search.trials.recording import costs_among

_Answer = int | Literal["new"] | None
"""What a chooser returns."""


class PausedTrials:
    """Paused trials, trials that are continued before the chooser is asked, and what the chooser sees of all trials."""

    def __init__(
        self,
        chooser: Chooser,
        *,
        studies: Studies,
        objectives: Sequence[str],
        reference_id: str,
        num_steps: int,
        max_trials: int,
    ) -> None:
        """`reference_id` is the architecture that never pauses, `num_steps` the length of a training."""
        self._chooser, self._studies, self._objectives = chooser, studies, objectives
        self._reference_id, self._num_steps, self._max_trials = reference_id, num_steps, max_trials
        self._snapshots: dict[int, TrialSnapshot] = {}
        """Of the recorded and the paused trials: they change seldom, and are many."""
        self._paused: dict[int, LiveTrial] = {}
        self._first: deque[LiveTrial] = deque()
        """Crashed, interrupted between two rungs, or audits: they continue before the chooser is asked."""
        self._is_idle = False
        """Whether the chooser had nothing to do, and nothing has changed since."""
        self._last: tuple[list[TrialSnapshot], bool, _Answer] | None = None
        """The chooser's last arguments, and its answer."""
        conclusion = studies.conclusion
        self._audits: tuple[int, ...] = () if conclusion is None else conclusion.audits
        self._is_audited = conclusion is not None and conclusion.max_trials >= max_trials
        """Whether the audits are selected. Afterwards the paused trials stop as soon as the chooser wants none."""
        self._is_concluded = False

    @property
    def paused(self) -> list[LiveTrial]:
        """The trials that wait at a rung."""
        return list(self._paused.values())

    @property
    def num_waiting(self) -> int:
        """Number of the trials that have begun, are not recorded and have no worker."""
        return len(self._paused) + len(self._first)

    def restore(self, *, recorded: Iterable[tuple[Record, Sequence[float]]], begun: Iterable[LiveTrial]) -> None:
        """Takes over the trials of an earlier part of the run: at a rung they pause, elsewhere they continue first."""
        for record, losses in recorded:
            self.add_record(record, losses)
        for live in begun:
            live.audit = live.number in self._audits
            if self._may_pause(live):
                self._pause(live)
            else:
                self._first.append(live)
        self._is_concluded = self._is_audited and not self.num_waiting

    def add_retry(self, live: LiveTrial) -> None:
        """The trial crashed, and is continued before the chooser is asked."""
        self._first.append(live)

    def add_report(self) -> None:
        """A trial reported. The chooser is asked again, also where it had nothing to do before."""
        self._is_idle = False

    def add_record(self, record: Record, losses: Sequence[float]) -> None:
        """A trial is recorded, with these losses. The chooser does not see failed and diverged trials."""
        self._is_idle = False
        self._snapshots.pop(record.trial, None)
        if record.state in ("complete", "pruned"):
            values = {name: column_value(record, name) for name in self._objectives}
            self._snapshots[record.trial] = TrialSnapshot(
                number=record.trial,
                architecture_id=record.architecture_id,
                costs=costs_among(self._objectives, values),
                losses=tuple(losses),
                state="complete" if record.state == "complete" else "stopped",
                fusion=record.fusion,
            )

    def decide(self, live: LiveTrial, *, running: Iterable[LiveTrial], may_start: bool) -> Decision:
        """Continues a trial at a rung if the chooser picks it among all, as if it were paused; pauses it otherwise."""
        if not self._may_pause(live):
            return Decision.CONTINUE
        others = [item for item in running if item is not live]
        if self._ask(others, may_start=may_start, at_rung=live) == live.number:
            return Decision.CONTINUE
        self._pause(live)
        return Decision.PAUSE

    def pick(self, *, running: Iterable[LiveTrial], may_start: bool) -> Work:
        """Returns what a free worker does next.

        After the audits are selected, the chooser is asked only if an audited trial ended on the front.
        """
        if self._first:
            return self._first.popleft()
        # A worker without work asks several times a second.
        if self._is_idle or (self._is_audited and not self._has_surprise()):
            return None
        answer = self._ask(running, may_start=may_start)
        self._is_idle = answer is None
        return self._paused.pop(answer) if isinstance(answer, int) else answer

    def conclude(self) -> list[LiveTrial]:
        """Selects the audits, which then run. Called again, returns the paused trials, which stop for good.

        The paused trials wait until the audits have ended, because the chooser is asked again where one of them ends on
        the front.
        """
        if self._is_audited:
            self._is_concluded = True
            return [self._paused.pop(number) for number in sorted(self._paused)]
        audits = self._select_audits()
        self._audits = tuple(sorted({*self._audits, *audits}))
        self._studies.conclude(Conclusion(self._max_trials, self._audits))
        self._is_audited = True
        for number in sorted(audits):
            live = self._paused.pop(number)
            live.audit = True
            self._first.append(live)
        return []

    def is_done(self, *, may_start: bool) -> bool:
        """Returns whether all trials are recorded but those that run."""
        return self._is_concluded and not self._first

    def _may_pause(self, live: LiveTrial) -> bool:
        """Returns whether the trial is at a rung, and is one of those that pause."""
        if live.audit or live.end_is_known or live.candidate.architecture.id == self._reference_id:
            return False
        if not live.evaluations or live.evaluations[-1].step == self._num_steps:
            return False
        return self._chooser.is_rung(len(live.evaluations))

    def _pause(self, live: LiveTrial) -> None:
        self._is_idle = False
        live.paused = True
        live.drop_weights()
        self._paused[live.number] = live
        self._snapshots[live.number] = _snapshot(live, "paused")

    def _has_surprise(self) -> bool:
        """Returns whether an audited trial has ended on the front."""
        return audit_reached_front(list(self._snapshots.values()), audits=self._audits)

    def _select_audits(self) -> list[int]:
        """Numbers of the paused trials that run to their end as an audit of the pruner."""
        numbers = list(self._chooser.audits(self._all_snapshots([])))
        for number in numbers:
            if number not in self._paused:
                raise ValueError(f"chooser.audits answered trial {number}: name paused ones ({_names(self._paused)})")
        return numbers

    def _ask(self, running: Iterable[LiveTrial], *, may_start: bool, at_rung: LiveTrial | None = None) -> _Answer:
        snapshots = self._all_snapshots(running, at_rung=at_rung)
        # A trial that has just paused leaves its worker free, and the chooser's arguments are the same again.
        if self._last is not None and self._last[:2] == (snapshots, may_start):
            answer = self._last[2]
        else:
            answer = self._chooser.choose(snapshots, may_start=may_start)
        self._last = snapshots, may_start, answer
        is_paused = answer in self._paused or (at_rung is not None and answer == at_rung.number)
        if answer is None or (answer == NEW and may_start) or is_paused:
            return answer
        new = f"{NEW!r}, " if may_start else ""
        names = _names(item.number for item in snapshots if item.state == "paused")
        raise ValueError(f"chooser.choose answered {answer!r}: answer {new}None or a paused trial ({names})")

    def _all_snapshots(self, running: Iterable[LiveTrial], *, at_rung: LiveTrial | None = None) -> list[TrialSnapshot]:
        """Returns all trials by number."""
        live = {item.number: _snapshot(item, "running") for item in (*running, *self._first)}
        snapshots = self._snapshots | live
        if at_rung is not None:
            snapshots[at_rung.number] = _snapshot(at_rung, "paused")
        return [snapshots[number] for number in sorted(snapshots)]


def _snapshot(live: LiveTrial, state: Literal["running", "paused"]) -> TrialSnapshot:
    return TrialSnapshot(
        number=live.number,
        architecture_id=live.candidate.architecture.id,
        costs=live.costs,
        losses=tuple(item.loss for item in live.evaluations if not item.diverged),
        state=state,
        fusion=live.candidate.architecture.fusion,
    )


def _names(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none is"
