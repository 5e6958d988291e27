"""Trials that wait for a worker, and the chooser that gives workers their trials.

For Ray a paused trial is over: its worker is free, and what it has learned is in its checkpoint. Here it waits until
the chooser wants it again. What the chooser sees is made anew of the records and of the trials in flight, so that a run
that goes on decides as if it had never been interrupted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record
from depthweave.search.pruners.audit import audit_reached_front
from depthweave.search.pruners.chooser import NEW, Chooser, TrialSnapshot
from depthweave.search.trials.live_trial import LiveTrial

Work = LiveTrial | Literal["new"] | None
"""A trial to continue, a new one to start, or nothing for now."""


class PausedTrials:
    """Paused trials, those that go on before anybody is asked, and what a chooser is shown of all."""

    def __init__(self, chooser: Chooser, *, objectives: Sequence[str]) -> None:
        self._chooser = chooser
        self._objectives = objectives
        self._known: dict[int, TrialSnapshot] = {}
        """Of the trials that are recorded or paused: they change seldom, and are many."""
        self._idle = False
        self._last: tuple[list[TrialSnapshot], bool, int | Literal["new"] | None] | None = None
        """What the chooser was asked last, and its answer."""
        self.paused: dict[int, LiveTrial] = {}
        self.first: deque[LiveTrial] = deque()
        """Interrupted between two rungs, or audits: they go on unasked."""

    @property
    def waiting(self) -> int:
        """Number of the trials that have begun, are not recorded and have no worker."""
        return len(self.paused) + len(self.first)

    def settle(self, record: Record, losses: Sequence[float]) -> None:
        """A trial is recorded, with these losses; failed and diverged ones are no example to anybody."""
        self.changed()
        self._known.pop(record.trial, None)
        if record.state in ("complete", "pruned"):
            values = {name: column_value(record, name) for name in self._objectives}
            self._known[record.trial] = TrialSnapshot(
                number=record.trial,
                architecture_id=record.architecture_id,
                costs=costs_among(self._objectives, values),
                losses=tuple(losses),
                state="complete" if record.state == "complete" else "stopped",
            )

    def changed(self) -> None:
        """Something was heard since the chooser had nothing to do: it may have now."""
        self._idle = False

    def pause(self, live: LiveTrial) -> None:
        """The trial waits at a rung."""
        self.changed()
        live.paused = True
        live.drop_weights()
        self.paused[live.number] = live
        self._known[live.number] = _snapshot(live, "paused")

    def is_rung(self, live: LiveTrial) -> bool:
        """Whether the trial stands where the chooser decides."""
        return bool(live.evaluations) and self._chooser.is_rung(len(live.evaluations))

    def keeps(self, live: LiveTrial, running: Iterable[LiveTrial], *, may_start: bool) -> bool:
        """Whether a running trial at a rung goes on at once: it is chosen among all, as if it were paused."""
        others = [item for item in running if item is not live]
        return self._ask(others, may_start=may_start, at_rung=live) == live.number

    def pick(self, running: Iterable[LiveTrial], *, may_start: bool) -> Work:
        """What a free worker does next."""
        if self.first:
            return self.first.popleft()
        # A worker that finds nothing asks again several times a second.
        if self._idle:
            return None
        answer = self._ask(running, may_start=may_start)
        self._idle = answer is None
        return self.paused.pop(answer) if isinstance(answer, int) else answer

    def audits(self) -> list[int]:
        """Numbers of the paused trials that run to their end to audit the pruner."""
        numbers = list(self._chooser.audits(self._snapshots([])))
        for number in numbers:
            if number not in self.paused:
                raise ValueError(f"chooser.audits answered trial {number}: name paused ones ({_names(self.paused)})")
        return numbers

    def contradicted_by(self, audits: Collection[int]) -> bool:
        """Whether one of the audited trials has ended on the front."""
        return audit_reached_front(list(self._known.values()), audits=audits)

    def _ask(
        self, running: Iterable[LiveTrial], *, may_start: bool, at_rung: LiveTrial | None = None
    ) -> int | Literal["new"] | None:
        snapshots = self._snapshots(running, at_rung=at_rung)
        # A trial that is not kept leaves its worker free, and all stand as they stood when that was decided.
        if self._last is not None and self._last[:2] == (snapshots, may_start):
            answer = self._last[2]
        else:
            answer = self._chooser.choose(snapshots, may_start=may_start)
        self._last = snapshots, may_start, answer
        is_paused = answer in self.paused or (at_rung is not None and answer == at_rung.number)
        if answer is None or (answer == NEW and may_start) or is_paused:
            return answer
        new = f"{NEW!r}, " if may_start else ""
        names = _names(item.number for item in snapshots if item.state == "paused")
        raise ValueError(f"chooser.choose answered {answer!r}: answer {new}None or a paused trial ({names})")

    def _snapshots(self, running: Iterable[LiveTrial], *, at_rung: LiveTrial | None = None) -> list[TrialSnapshot]:
        """All trials by number."""
        shown = self._known | {item.number: _snapshot(item, "running") for item in (*running, *self.first)}
        if at_rung is not None:
            shown[at_rung.number] = _snapshot(at_rung, "paused")
        return [shown[number] for number in sorted(shown)]


def costs_among(objectives: Sequence[str], values: Mapping[str, float | None]) -> dict[str, float]:
    """The costs of a trial among all that is known of it; one that was not measured is boundless, and beats nobody."""
    costs = {name: values[name] for name in objectives if OBJECTIVES[name].cost}
    return {name: math.inf if value is None else float(value) for name, value in costs.items()}


def _snapshot(live: LiveTrial, state: Literal["running", "paused"]) -> TrialSnapshot:
    return TrialSnapshot(
        number=live.number,
        architecture_id=live.candidate.architecture.id,
        costs=live.costs,
        losses=tuple(item.loss for item in live.evaluations if not item.diverged),
        state=state,
    )


def _names(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none is"
