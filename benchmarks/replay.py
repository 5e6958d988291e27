"""Replays a search on finished curves: the same workers, pauses and stops, without training.

A table holds the whole curve of every architecture. A worker takes a trial and trains it for one evaluation after the
other. It is free again when the trial ends, is stopped or pauses. The clock is the time of those evaluations. Any
sampler (`Proposer`) works with any pruner that stops (`Stopper`) or chooser that pauses (`Chooser`).

An evaluation is charged when a worker begins it. So the trainings that run beside a trial are charged up to one
evaluation too early at its end: with one worker there are none, and with several it never helps an arm.

Measuring is charged too, by one rule for all. Before the first training one worker measures the first surveyed row (the
reference, whose step gives the time of a measurement), and then all workers measure the others at once. A trial that
was not surveyed measures itself before it trains, one at a time as on one machine. A worker that waits for another's
measurement is charged like one that measures. The last measurement of the front is not charged: all searches do it,
after their last training.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from depthweave.search.pruners.audit import audit_reached_front
from depthweave.search.pruners.chooser import NEW, Chooser, TrialSnapshot
from depthweave.search.pruners.peers import COSTS, should_stop

Array = NDArray[np.float64]


class Measuring(NamedTuple):
    """What one measurement costs: the same for every architecture, because it runs in turn with the reference."""

    evaluations: float
    """Evaluations of training."""
    seconds: float
    """Time on the clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """N architectures with E evaluations each and C costs known before training."""

    ids: tuple[str, ...]
    """`[N]`, architecture ids."""
    losses_NE: Array
    """Validation loss after each evaluation, nats a token."""
    cost_names: tuple[str, ...]
    costs_NC: Array
    """All minimised."""
    evaluation_s_N: Array
    """Seconds from one evaluation to the next: the clock of the replay."""
    fusions: tuple[str, ...] | None = None
    """`[N]`; `None` where the architectures have none."""
    measuring: Measuring | None = None
    """Cost of measuring one architecture; `None` if its costs follow from the architecture."""

    def __post_init__(self) -> None:
        shape = len(self.ids), len(self.cost_names)
        if self.costs_NC.shape != shape or len(self.losses_NE) != shape[0] or self.evaluation_s_N.shape != shape[:1]:
            raise ValueError(
                f"Curves: {shape[0]} ids and {shape[1]} costs do not go with losses {self.losses_NE.shape}, costs "
                f"{self.costs_NC.shape} and times {self.evaluation_s_N.shape}: give one row an id"
            )

    @property
    def num_evaluations(self) -> int:
        """Evaluations of a whole curve, E."""
        return int(self.losses_NE.shape[1])

    @property
    def points_NO(self) -> Array:
        """The objectives: final loss, then the costs."""
        return np.column_stack([self.losses_NE[:, -1], self.costs_NC])

    def costs_of(self, index: int) -> dict[str, float]:
        """Costs of one architecture by name."""
        return dict(zip(self.cost_names, self.costs_NC[index].tolist(), strict=True))


class Proposer(Protocol):
    """A sampler: proposes architectures and gets their results."""

    def ask(self) -> int | None:
        """Returns the index of the next architecture; `None` if there is none left."""
        ...

    def hear(self, index: int, losses: Sequence[float]) -> None:
        """Gets the losses so far of an architecture in training, after each evaluation."""
        ...

    def tell(self, index: int, values: Sequence[float] | None) -> None:
        """Gets an architecture's objectives at its end; `None` if it was stopped."""
        ...


class Stopper(Protocol):
    """A pruner that stops for good."""

    def should_stop(self, snapshot: TrialSnapshot) -> bool:
        """Whether to stop the trial after the last evaluation of `snapshot`; called after every evaluation."""
        ...

    def ended(self, snapshot: TrialSnapshot) -> None:
        """Called when the trial was stopped or is complete."""
        ...


class Ended(NamedTuple):
    """One trial's end, in the order of the clock."""

    row: int
    """Row of the table."""
    state: Literal["complete", "stopped", "audit"]
    """`audit`: complete, though the chooser would have stopped it."""
    evaluations: float
    """Evaluations charged until then to all trials together, measurements and waits included."""
    audit_evaluations: int
    """Evaluations of these that the audit took."""
    time_s: float


def replay(
    curves: Curves,
    *,
    proposer: Proposer,
    num_workers: int,
    stopper: Stopper | None = None,
    chooser: Chooser | None = None,
    surveyed: Sequence[int] = (),
) -> Iterator[Ended]:
    """Yields the ends of trials until nothing is left to do; the caller may stop early.

    `surveyed`: rows that are measured before the first training.
    """
    if stopper is not None and chooser is not None:
        raise ValueError("replay: both a stopper and a chooser are given: one of them decides, leave the other out")
    whole = _Replay(curves=curves, proposer=proposer, num_workers=num_workers, stopper=stopper, chooser=chooser)
    return whole.run(surveyed)


class OptunaStopper:
    """An Optuna pruner as shipped, or with fair peers only as in a search (`search/pruners/peers.py`)."""

    def __init__(self, pruner: BasePruner, *, fair: bool) -> None:
        self._pruner, self._fair = pruner, fair
        self._study = optuna.create_study(pruner=pruner)
        self._trials: dict[int, tuple[int, int]] = {}
        """By trial number: Optuna's id, and the number of losses that Optuna has."""

    def should_stop(self, snapshot: TrialSnapshot) -> bool:
        trial = self._study._storage.get_trial(self._reported(snapshot))
        if self._fair:
            return should_stop(self._pruner, study=self._study, trial=trial)
        return self._pruner.prune(self._study, trial)

    def ended(self, snapshot: TrialSnapshot) -> None:
        state = TrialState.COMPLETE if snapshot.state == "complete" else TrialState.PRUNED
        # Optuna's own loop also reports the last value of a pruned trial.
        self._study._storage.set_trial_state_values(self._reported(snapshot), state, [snapshot.losses[-1]])

    def _reported(self, snapshot: TrialSnapshot) -> int:
        """Returns Optuna's id of the trial, after reporting all its losses to the study."""
        storage = self._study._storage
        if snapshot.number not in self._trials:
            begun = optuna.create_trial(state=TrialState.RUNNING, user_attrs={COSTS: dict(snapshot.costs)})
            self._trials[snapshot.number] = storage.create_new_trial(self._study._study_id, template_trial=begun), 0
        trial_id, known = self._trials[snapshot.number]
        for step, loss in enumerate(snapshot.losses[known:], known + 1):
            storage.set_trial_intermediate_value(trial_id, step, loss)
        self._trials[snapshot.number] = trial_id, len(snapshot.losses)
        return trial_id


@dataclass(kw_only=True, slots=True)
class _Replay:
    curves: Curves
    proposer: Proposer
    num_workers: int
    stopper: Stopper | None
    chooser: Chooser | None
    snapshots: list[TrialSnapshot] = field(default_factory=list)
    """By trial number."""
    indices: list[int] = field(default_factory=list)
    """The table's row of each trial."""
    agenda: list[tuple[float, int, int]] = field(default_factory=list)
    """The next evaluation of each running trial: time, order of start, trial number."""
    exhausted: bool = False
    audited: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    """Audited trials that have not started."""
    measured: set[int] = field(default_factory=set)
    """Rows."""
    measuring_until_s: float = 0.0
    """End of the last requested measurement."""
    evaluations: float = 0.0
    audit_evaluations: int = 0
    time_s: float = 0.0
    num_begun: int = 0

    def run(self, surveyed: Sequence[int]) -> Iterator[Ended]:
        self._survey(surveyed)
        self._employ()
        while self.agenda:
            yield from self._advance()
        if self.chooser is None:
            return
        self.audited = list(self.chooser.audits(self.snapshots))
        self.waiting = list(self.audited)
        self._employ()
        while self.agenda:
            yield from self._advance()
        for number, snapshot in enumerate(self.snapshots):
            if snapshot.state == "paused":
                yield self._end(number, "stopped")

    def _advance(self) -> Iterator[Ended]:
        """Processes the next evaluation of any worker, and gives the worker its next work."""
        self.time_s, _, number = heapq.heappop(self.agenda)
        snapshot = self.snapshots[number]
        losses = tuple(self.curves.losses_NE[self.indices[number], : len(snapshot.losses) + 1].tolist())
        costs = self.curves.costs_of(self.indices[number])
        snapshot = self.snapshots[number] = snapshot._replace(losses=losses, costs=costs)
        self.proposer.hear(self.indices[number], losses)
        if len(losses) == self.curves.num_evaluations:
            yield self._end(number, "complete")
        elif self.stopper is not None and self.stopper.should_stop(snapshot):
            yield self._end(number, "stopped")
        elif self.chooser is not None and number not in self.audited and self.chooser.is_rung(len(losses)):
            # The free worker may also continue the trial itself.
            self.snapshots[number] = snapshot._replace(state="paused")
        else:
            self._begin(number)
        self._employ()

    def _employ(self) -> None:
        """Gives every free worker work, if there is any."""
        while len(self.agenda) < self.num_workers:
            found = self._next()
            if found is None:
                return
            self._begin(found)

    def _next(self) -> int | None:
        """Returns the number of the trial that a free worker takes."""
        if self.waiting:
            return self.waiting.pop(0)
        if self.chooser is None:
            return self._start()
        if self.audited and not audit_reached_front(self.snapshots, audits=self.audited):
            return None
        may_start = not self.exhausted
        choice = self.chooser.choose(self.snapshots, may_start=may_start)
        if choice != NEW:
            return choice
        started = None if self.exhausted else self._start()
        # Only now it is known that nothing is left to start: the chooser decides again with that knowledge.
        return started if started is not None or not may_start else self._next()

    def _start(self) -> int | None:
        index = self.proposer.ask()
        if index is None:
            self.exhausted = True
            return None
        # As in a search: a trial reports its own measurement with its first evaluation.
        known = self.curves.measuring is None or index in self.measured
        costs: Mapping[str, float] = self.curves.costs_of(index) if known else {}
        fusion = "" if self.curves.fusions is None else self.curves.fusions[index]
        self.snapshots.append(TrialSnapshot(len(self.snapshots), self.curves.ids[index], costs, (), "running", fusion))
        self.indices.append(index)
        return len(self.snapshots) - 1

    def _begin(self, number: int) -> None:
        self.snapshots[number] = self.snapshots[number]._replace(state="running")
        self.evaluations += 1
        self.audit_evaluations += number in self.audited
        self.num_begun += 1
        end_s = self._measured_s(self.indices[number]) + float(self.curves.evaluation_s_N[self.indices[number]])
        heapq.heappush(self.agenda, (end_s, self.num_begun, number))

    def _survey(self, rows: Sequence[int]) -> None:
        """One worker measures the first row, all workers the others; idle workers wait for the last."""
        self.measured.update(rows)
        if self.curves.measuring is not None:
            in_turn = min(1, len(self.measured)) + math.ceil(max(0, len(self.measured) - 1) / self.num_workers)
            self.evaluations += self.num_workers * in_turn * self.curves.measuring.evaluations
            self.time_s += in_turn * self.curves.measuring.seconds

    def _measured_s(self, index: int) -> float:
        """Returns when a worker that is free now begins to train the row: at once if the row is measured."""
        measuring = self.curves.measuring
        if measuring is None or index in self.measured:
            return self.time_s
        self.measured.add(index)
        begin_s = max(self.time_s, self.measuring_until_s)
        self.evaluations += measuring.evaluations * (1.0 + (begin_s - self.time_s) / measuring.seconds)
        self.measuring_until_s = begin_s + measuring.seconds
        return self.measuring_until_s

    def _end(self, number: int, state: Literal["complete", "stopped"]) -> Ended:
        snapshot = self.snapshots[number] = self.snapshots[number]._replace(state=state)
        index = self.indices[number]
        values: Any = self.curves.points_NO[index].tolist() if state == "complete" else None
        self.proposer.tell(index, values)
        if self.stopper is not None:
            self.stopper.ended(snapshot)
        audit = state == "complete" and number in self.audited
        return Ended(index, "audit" if audit else state, self.evaluations, self.audit_evaluations, self.time_s)
