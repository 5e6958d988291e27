"""The replay against values by hand and against Optuna: when each trial ends, and what a pruner sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from benchmarks.replay import Curves, Ended, Measuring, OptunaStopper, replay
from depthweave.search.pruners.chooser import NEW, TrialSnapshot

LOSSES = [[3.0, 2.0, 1.0], [4.0, 3.5, 3.4], [3.5, 2.5, 0.5]]


class InOrder:
    """Proposes the rows one after the other and notes what it hears."""

    def __init__(self, num_rows: int) -> None:
        self._left = list(range(num_rows))
        self.heard: list[tuple[int, int]] = []
        self.results: list[tuple[int, bool]] = []

    def ask(self) -> int | None:
        return self._left.pop(0) if self._left else None

    def hear(self, row: int, losses: Sequence[float]) -> None:
        self.heard.append((row, len(losses)))

    def tell(self, row: int, values: Sequence[float] | None) -> None:
        self.results.append((row, values is not None))


class StopAfterFirst:
    """Stops whatever begins with a loss above a level."""

    def should_stop(self, snapshot: TrialSnapshot) -> bool:
        return snapshot.losses[0] > 3.8

    def ended(self, snapshot: TrialSnapshot) -> None:
        assert snapshot.state in ("complete", "stopped")


class BestFirst:
    """Everything for one evaluation, then the paused one with the lowest loss to its end; audits the worst."""

    def is_rung(self, evaluation: int) -> bool:
        return evaluation == 1

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        if may_start:
            return NEW
        if any(item.state == "complete" for item in snapshots):
            return None
        paused = [item for item in snapshots if item.state == "paused"]
        return min(paused, key=lambda item: item.losses[-1]).number if paused else None

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        return [max(snapshots, key=lambda item: item.losses[0]).number]


class OwnNumber:
    """Pauses after every evaluation and goes on with the same trial at once."""

    def is_rung(self, evaluation: int) -> bool:
        return True

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        paused = [item.number for item in snapshots if item.state == "paused"]
        if paused:
            return paused[0]
        return NEW if may_start else None

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        return []


@pytest.fixture
def curves() -> Curves:
    return Curves(
        ids=("a", "b", "c"),
        losses_NE=np.array(LOSSES),
        cost_names=("latency",),
        costs_NC=np.array([[1.0], [2.0], [3.0]]),
        evaluation_s_N=np.array([1.0, 2.0, 1.0]),
    )


def test_one_worker_takes_one_trial_after_the_other(curves: Curves) -> None:
    ends = list(replay(curves, proposer=InOrder(3), num_workers=1))
    assert ends == [Ended(0, "complete", 3, 0, 3.0), Ended(1, "complete", 6, 0, 9.0), Ended(2, "complete", 9, 0, 12.0)]


def test_two_workers_are_charged_for_what_runs_beside(curves: Curves) -> None:
    ends = list(replay(curves, proposer=InOrder(3), num_workers=2))
    # At 3 s row 0 has had its three evaluations and row 1 has begun its second.
    assert ends == [Ended(0, "complete", 5, 0, 3.0), Ended(1, "complete", 9, 0, 6.0), Ended(2, "complete", 9, 0, 6.0)]


def test_more_workers_than_trials_end_as_well(curves: Curves) -> None:
    assert {end.row for end in replay(curves, proposer=InOrder(3), num_workers=8)} == {0, 1, 2}


def test_stopped_trial_frees_its_worker(curves: Curves) -> None:
    proposer = InOrder(3)
    ends = list(replay(curves, proposer=proposer, num_workers=1, stopper=StopAfterFirst()))
    assert ends == [Ended(0, "complete", 3, 0, 3.0), Ended(1, "stopped", 4, 0, 5.0), Ended(2, "complete", 7, 0, 8.0)]
    assert proposer.results == [(0, True), (1, False), (2, True)]
    assert proposer.heard == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (2, 2), (2, 3)]


def test_paused_trials_wait_for_the_choice_and_audits_come_last(curves: Curves) -> None:
    ends = list(replay(curves, proposer=InOrder(3), num_workers=1, chooser=BestFirst()))
    # One evaluation each (4 s), the best first loss to its end (2 s), the worst to its end (4 s); row 2 waits for ever.
    assert ends == [Ended(0, "complete", 5, 0, 6.0), Ended(1, "audit", 7, 2, 10.0), Ended(2, "stopped", 7, 2, 10.0)]


class Regains(BestFirst):
    """Gives up all but the first; with two complete it would go on with the others."""

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        found = super().choose(snapshots, may_start=may_start)
        paused = [item.number for item in snapshots if item.state == "paused"]
        if found is None and paused and sum(item.state == "complete" for item in snapshots) == 2:
            return paused[0]
        return found


@pytest.mark.parametrize(
    ("cost", "expected"), [(0.5, ["complete", "audit", "complete"]), (3.0, ["complete", "audit", "stopped"])]
)
def test_audit_that_ends_on_the_front_re_opens_the_others_and_one_that_is_beaten_does_not(
    cost: float, expected: list[str], curves: Curves
) -> None:
    # Row 1 is audited: at less cost than row 0 it is on the front, at more it is beaten.
    costs = replace(curves, costs_NC=np.array([[1.0], [cost], [4.0]]), losses_NE=curves.losses_NE)
    ends = list(replay(costs, proposer=InOrder(3), num_workers=1, chooser=Regains()))
    assert [item.state for item in ends] == expected
    assert ends[-1].audit_evaluations == 2
    assert ends[-1].evaluations == 7 + 2 * (expected[-1] == "complete")


def test_chooser_that_never_switches_is_as_none(curves: Curves) -> None:
    plain = list(replay(curves, proposer=InOrder(3), num_workers=1))
    assert list(replay(curves, proposer=InOrder(3), num_workers=1, chooser=OwnNumber())) == plain


def test_one_worker_is_charged_for_what_each_trial_measures(curves: Curves) -> None:
    measured = replace(curves, measuring=Measuring(evaluations=0.5, seconds=0.25))
    ends = list(replay(measured, proposer=InOrder(3), num_workers=1))
    assert ends == [
        Ended(0, "complete", 3.5, 0, 3.25),
        Ended(1, "complete", 7.0, 0, 9.5),
        Ended(2, "complete", 10.5, 0, 12.75),
    ]


def test_worker_that_waits_for_another_to_measure_is_charged(curves: Curves) -> None:
    measured = replace(curves, measuring=Measuring(evaluations=0.5, seconds=0.5))
    ends = list(replay(measured, proposer=InOrder(3), num_workers=2))
    # Row 1 waits half a second and measures half a second: one evaluation. At 3.5 s it has begun its second. Then row
    # 2 measures at once.
    assert ends == [
        Ended(0, "complete", 0.5 + 1.0 + 3 + 2, 0, 3.5),
        Ended(1, "complete", 2.0 + 9, 0, 7.0),
        Ended(2, "complete", 2.0 + 9, 0, 7.0),
    ]


def test_survey_is_charged_to_all_workers_before_the_first_training(curves: Curves) -> None:
    measured = replace(curves, measuring=Measuring(evaluations=0.5, seconds=0.5))
    ends = list(replay(measured, proposer=InOrder(3), num_workers=2, surveyed=[0, 1, 2]))
    # The first row by one worker while the other waits, then one row each: a second, two evaluations.
    free = replay(curves, proposer=InOrder(3), num_workers=2)
    assert ends == [end._replace(evaluations=end.evaluations + 2.0, time_s=end.time_s + 1.0) for end in free]


@pytest.mark.parametrize(("workers", "surveyed", "points"), [(1, 139, 3.125), (4, 139, 3.237), (4, 12, 0.36)])
def test_survey_costs_what_ten_training_steps_a_measurement_are(workers: int, surveyed: int, points: float) -> None:
    whole = Curves(
        ids=tuple(map(str, range(139))),
        losses_NE=np.ones((139, 10)),
        cost_names=("latency",),
        costs_NC=np.ones((139, 1)),
        evaluation_s_N=np.ones(139),
        measuring=Measuring(evaluations=10 / 32, seconds=10 / 32),
    )
    first = next(replay(whole, proposer=InOrder(139), num_workers=workers, surveyed=range(surveyed)))
    # When the first trial ends each worker has begun its tenth evaluation.
    survey = first.evaluations - 10 * workers
    assert 100 * survey / 1390 == pytest.approx(points, abs=1e-3)


def test_trial_tells_its_costs_with_its_first_evaluation_and_a_surveyed_one_at_once(curves: Curves) -> None:
    measured = replace(curves, measuring=Measuring(evaluations=0.5, seconds=0.5))
    seen: list[tuple[int, int, bool]] = []

    class Watching(BestFirst):
        def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
            seen.extend((item.number, len(item.losses), bool(item.costs)) for item in snapshots)
            return super().choose(snapshots, may_start=may_start)

    list(replay(measured, proposer=InOrder(3), num_workers=2, chooser=Watching(), surveyed=[0]))
    assert {has_costs for number, _, has_costs in seen if number == 0} == {True}
    assert {(num_losses > 0) == has_costs for number, num_losses, has_costs in seen if number > 0} == {True}


@pytest.mark.parametrize(
    "pruner", [MedianPruner(n_startup_trials=3), SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)]
)
def test_optuna_pruner_stops_what_it_stops_in_an_optuna_loop(pruner: BasePruner) -> None:
    random = np.random.default_rng(0)
    losses_NE = np.sort(random.normal(size=(30, 6)) + random.normal(size=(30, 1)), axis=1)[:, ::-1]
    curves = Curves(
        ids=tuple(map(str, range(30))),
        losses_NE=losses_NE,
        cost_names=(),
        costs_NC=np.zeros((30, 0)),
        evaluation_s_N=np.ones(30),
    )

    def train(trial: optuna.Trial) -> float:
        for step, loss in enumerate(losses_NE[trial.number], 1):
            trial.report(loss, step)
            if step < 6 and trial.should_prune():
                raise optuna.TrialPruned
        return float(losses_NE[trial.number, -1])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=pruner)
    study.optimize(train, n_trials=30)
    wanted = [(item.number, len(item.intermediate_values)) for item in study.trials if item.state == TrialState.PRUNED]
    assert 3 < len(wanted) < 27

    proposer = InOrder(30)
    ends = list(replay(curves, proposer=proposer, num_workers=1, stopper=OptunaStopper(pruner, fair=False)))
    stopped = [end.row for end in ends if end.state == "stopped"]
    assert [(row, sum(heard == row for heard, _ in proposer.heard)) for row in stopped] == wanted


def test_fair_stopper_spares_the_cheapest(curves: Curves) -> None:
    # Rows come by falling cost, each worse than the ones before: only to unfair eyes is the cheapest hopeless.
    falling = Curves(
        ids=curves.ids,
        losses_NE=np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]),
        cost_names=curves.cost_names,
        costs_NC=curves.costs_NC[::-1],
        evaluation_s_N=curves.evaluation_s_N,
    )
    states = {}
    for fair in (False, True):
        stopper = OptunaStopper(MedianPruner(n_startup_trials=2, n_warmup_steps=0), fair=fair)
        states[fair] = [end.state for end in replay(falling, proposer=InOrder(3), num_workers=1, stopper=stopper)]
    assert states == {False: ["complete", "complete", "stopped"], True: ["complete", "complete", "complete"]}
