"""The pruner `pareto`: choices and stops by hand, and invariances."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import optuna
import pytest
from optuna import Study
from optuna.trial import TrialState

from depthweave.search.pruners.chooser import NEW, Chooser, TrialSnapshot
from depthweave.search.pruners.pareto import ParetoChooser, ParetoPruner
from depthweave.search.pruners.peers import COSTS

_NUM = 8
State = Literal["running", "paused", "complete", "stopped"]


def curve(end: float, *, num: int = _NUM, of: int = _NUM) -> tuple[float, ...]:
    """The first losses of a curve with this final loss."""
    return tuple(end + 0.5 / (step + 1) - 0.5 / (of + 1) for step in range(1, num + 1))


def snapshot(
    number: int, end: float, *, cost: float, state: State = "complete", num: int | None = None, of: int = _NUM
) -> TrialSnapshot:
    losses = curve(end, num=(of if state == "complete" else 2) if num is None else num, of=of)
    return TrialSnapshot(number, f"id{number}", {"latency": cost}, losses, state)


def finished(*, num: int = 12) -> list[TrialSnapshot]:
    """Twelve complete trials on the front, from loss 3.0 at cost 1 to 2.45 at cost 12, with some noise."""
    noise = np.random.default_rng(0).normal(0.0, 0.002, (num, _NUM))
    trials = [snapshot(index, 3.0 - 0.05 * index, cost=1.0 + index) for index in range(num)]
    return [
        item._replace(losses=tuple((np.array(item.losses) + noise[index]).tolist()))
        for index, item in enumerate(trials)
    ]


def choose(snapshots: Sequence[TrialSnapshot], *, may_start: bool = False) -> int | str | None:
    return ParetoChooser(num_evaluations=_NUM).choose(snapshots, may_start=may_start)


def test_rungs_of_the_chooser_double() -> None:
    chooser: Chooser = ParetoChooser(num_evaluations=10)
    assert [evaluation for evaluation in range(1, 11) if chooser.is_rung(evaluation)] == [1, 2, 4, 8]


def test_unpromising_trial_is_given_up_and_the_same_curve_at_a_lower_cost_is_resumed() -> None:
    # Both will end at 2.9. The best loss up to cost 6.5 is 2.75, up to cost 2.5 it is 2.95.
    expensive, cheap = (
        snapshot(20, 2.9, cost=6.5, state="paused", num=4),
        snapshot(21, 2.9, cost=2.5, state="paused", num=4),
    )
    assert choose([*finished(), expensive]) is None
    assert choose([*finished(), expensive, cheap]) == 21
    assert choose([*finished(), expensive], may_start=True) == NEW


def test_of_two_equal_forecasts_the_one_with_fewer_remaining_evaluations_is_resumed() -> None:
    early, late = snapshot(20, 2.3, cost=6.5, state="paused", num=1), snapshot(21, 2.3, cost=6.5, state="paused", num=4)
    assert choose([*finished(), early, late]) == 21


def test_of_two_equal_curves_the_one_that_improves_a_wider_range_of_costs_is_resumed() -> None:
    narrow = snapshot(20, 2.40, cost=11.9, state="paused", num=4)
    wide = snapshot(21, 2.40, cost=6.5, state="paused", num=4)
    assert choose([*finished(), narrow, wide]) == 21


def test_trial_is_given_up_after_two_losses_but_not_after_one() -> None:
    bad = [snapshot(20, 9.0, cost=6.5, state="paused", num=num) for num in (1, 2)]
    assert [choose([*finished(), item]) for item in bad] == [20, None]


def test_cheapest_trial_is_never_given_up() -> None:
    assert choose([*finished(), snapshot(20, 9.0, cost=0.5, state="paused")]) == 20


def test_new_trial_is_started_before_an_unlikely_and_after_a_certain_improvement() -> None:
    unlikely = snapshot(20, 2.76, cost=6.5, state="paused", num=1)
    certain = snapshot(21, 1.0, cost=1.5, state="paused", num=4)
    assert choose([*finished(), unlikely], may_start=True) == NEW
    assert choose([*finished(), unlikely, certain], may_start=True) == 21


@pytest.mark.parametrize("costs", [{}, {"latency": 1.0, "memory_bytes": 2.0}], ids=["no cost", "two costs"])
def test_any_number_of_costs(costs: dict[str, float]) -> None:
    known = [item._replace(costs=costs) for item in finished()]
    worse = snapshot(20, 3.5, cost=1.0, state="paused", num=4)._replace(costs=costs)
    better = snapshot(21, 2.0, cost=1.0, state="paused", num=4)._replace(costs=costs)
    assert choose([*known, worse]) is None
    assert choose([*known, worse, better]) == 21


def test_trials_before_their_measurement_or_first_rung_do_not_count() -> None:
    started = [TrialSnapshot(30, "a", {}, (), "running"), TrialSnapshot(31, "b", {"latency": 2.0}, (), "running")]
    paused = snapshot(20, 2.0, cost=6.5, state="paused", num=4)
    assert choose([*finished(), paused, *started]) == 20
    assert choose(started) is None
    assert choose([]) is None
    assert choose([], may_start=True) == NEW


def test_until_three_are_complete_successive_halving_promotes_from_the_highest_rung_down() -> None:
    some = [snapshot(number, 3.0 - 0.1 * number, cost=1.0 + number, state="paused", num=1) for number in range(9)]
    bad = snapshot(9, 4.0, cost=20.0, state="paused", num=1)
    # Ten are at the first rung, and three may continue. Of the front, the one with the lowest loss is first.
    assert choose([*some, bad], may_start=True) == 8
    onward = [*some[:6], *(item._replace(losses=curve(3.0 - 0.1 * item.number, num=2)) for item in some[6:]), bad]
    # Three are at the second rung. All may continue, because three have to be completed; a fourth may not.
    assert choose(onward, may_start=True) == 8
    gone = [*onward[:8], onward[8]._replace(losses=curve(2.2, num=4), state="running"), bad]
    assert choose(gone, may_start=True) == 7
    far = [*onward[:6], *(item._replace(losses=curve(2.2, num=4), state="running") for item in onward[6:9]), bad]
    assert choose(far, may_start=True) == NEW
    assert choose(far) == 5
    assert choose([*some[:9]], may_start=True) == NEW


@pytest.mark.parametrize("may_start", [True, False])
def test_choice_depends_neither_on_the_units_of_costs_nor_on_the_level_of_losses(may_start: bool) -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        known = [
            *finished(),
            *(
                snapshot(
                    20 + item, float(generator.normal(2.7, 0.2)), cost=float(generator.uniform(1, 12)), state="paused"
                )
                for item in range(6)
            ),
        ]
        scaled = [item._replace(costs={"latency": 1e6 * item.costs["latency"]}) for item in known]
        lifted = [item._replace(losses=tuple(loss + 3.0 for loss in item.losses)) for item in known]
        expected = choose(known, may_start=may_start)
        assert choose(scaled, may_start=may_start) == expected
        assert choose(lifted, may_start=may_start) == expected


def test_resumed_search_chooses_as_the_uninterrupted_one() -> None:
    """One chooser for the whole search, or a new one at every step, which sees the snapshots only."""
    whole = simulate(lambda kept: kept)
    resumed = simulate(lambda kept: ParetoChooser(num_evaluations=_NUM))
    assert whole == resumed
    assert len(whole) > 60


def simulate(renew: object) -> list[int | str | None]:
    """The choices for one worker on 40 curves until none is left."""
    assert callable(renew)
    generator = np.random.default_rng(3)
    ends, costs = generator.normal(3.0, 0.3, 40), generator.uniform(1, 9, 40)
    chooser, snapshots, choices = ParetoChooser(num_evaluations=_NUM), list[TrialSnapshot](), list[int | str | None]()
    while True:
        chooser = renew(chooser)
        choice = chooser.choose(snapshots, may_start=len(snapshots) < len(ends))
        choices.append(choice)
        if choice is None:
            return choices
        if choice == NEW:
            number = len(snapshots)
            snapshots.append(TrialSnapshot(number, str(number), {"latency": float(costs[number])}, (), "running"))
        else:
            number = int(choice)
        num = len(snapshots[number].losses) + 1
        while num < _NUM and not chooser.is_rung(num):
            num += 1
        losses = curve(float(ends[number]), num=num)
        snapshots[number] = snapshots[number]._replace(losses=losses, state="complete" if num == _NUM else "paused")


def test_audited_trials_are_a_random_share_of_the_paused_ones_and_at_least_one() -> None:
    paused = [snapshot(number, 3.0, cost=1.0, state="paused") for number in range(400)]
    found = [ParetoChooser(num_evaluations=_NUM, seed=seed).audits(paused) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    # Binomial(400, 0.05): 20, give or take four standard deviations.
    assert 2 < len(found[0]) < 38
    chooser = ParetoChooser(num_evaluations=_NUM, audit_frac=0.001)
    assert len(chooser.audits(paused[:3])) == 1
    assert chooser.audits(finished()) == []
    assert ParetoChooser(num_evaluations=_NUM, audit_frac=0.0).audits(paused) == []


def test_audited_trials_remain_the_same_when_the_search_is_resumed() -> None:
    paused = [snapshot(number, 3.0, cost=1.0, state="paused") for number in range(100)]
    chooser = ParetoChooser(num_evaluations=_NUM, audit_frac=0.1)
    first, *others = chooser.audits(paused)
    assert others
    assert list(chooser.audits([item for item in paused if item.number != first])) == others


def study_of(snapshots: Sequence[TrialSnapshot]) -> Study:
    study = optuna.create_study()
    for item in snapshots:
        ended = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED}[item.state]
        study.add_trial(
            optuna.create_trial(
                state=ended,
                value=item.losses[-1],
                intermediate_values=dict(enumerate(item.losses)),
                user_attrs={COSTS: dict(item.costs)},
            )
        )
    return study


def stops(
    pruner: ParetoPruner, study: Study, losses: Sequence[float], *, costs: Mapping[str, float] | None
) -> list[int]:
    """The evaluations after which the pruner stops a new trial with these losses."""
    trial = study.ask()
    if costs is not None:
        trial.set_user_attr(COSTS, dict(costs))
    found = []
    for step, loss in enumerate(losses):
        trial.report(loss, step)
        if pruner.prune(study, study._storage.get_trial(trial._trial_id)):
            found.append(step + 1)
    return found


def test_pruner_stops_at_rungs_the_trials_that_the_chooser_gives_up() -> None:
    study, pruner = study_of(finished()), ParetoPruner(audit_frac=0.0)
    assert 4 in stops(pruner, study, curve(2.9, num=7), costs={"latency": 6.5})
    assert not stops(pruner, study, curve(2.9, num=7), costs={"latency": 2.5})
    assert set(stops(pruner, study, curve(9.0, num=7), costs={"latency": 6.5})) == {2, 4}
    assert not stops(pruner, study, curve(9.0, num=7), costs={"latency": 0.5})
    assert not stops(pruner, study, curve(9.0, num=7), costs=None)


def test_pruner_uses_successive_halving_while_fewer_than_three_are_complete() -> None:
    study, pruner = study_of(finished()[:2]), ParetoPruner(audit_frac=0.0)
    assert stops(pruner, study, curve(2.9, num=1), costs={"latency": 9.0}) == []
    assert stops(pruner, study, curve(9.0, num=1), costs={"latency": 9.0}) == [1]


def test_pruner_does_not_stop_audited_trials() -> None:
    pruner = ParetoPruner(audit_frac=0.5)
    study = study_of(finished())
    found = [bool(stops(pruner, study, curve(9.0, num=4), costs={"latency": 6.5})) for _ in range(40)]
    # Binomial(40, 0.5), give or take four standard deviations.
    assert 7 < sum(found) < 33


def test_pruner_stops_a_trial_with_a_loss_that_is_not_finite_and_ignores_its_curve() -> None:
    study, pruner = study_of(finished()), ParetoPruner(audit_frac=0.0)
    assert stops(pruner, study, [float("nan")], costs={"latency": 0.5}) == [1]
    assert 4 in stops(pruner, study, curve(2.9, num=7), costs={"latency": 6.5})


def test_study_that_maximises_is_refused() -> None:
    with pytest.raises(ValueError, match="the study maximises"):
        stops(ParetoPruner(), optuna.create_study(direction="maximize"), [1.0], costs={})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"level": 1.0}, "level is 1.0"), ({"audit_frac": -0.1}, "audit_frac is -0.1"), ({"grace": 0}, "grace is 0")],
)
def test_bad_option_is_one_line(options: dict[str, float], message: str) -> None:
    for make in (lambda: ParetoChooser(num_evaluations=8, **options), lambda: ParetoPruner(**options)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.bench
def test_choice_and_stop_take_under_5_ms_with_1000_trials() -> None:
    generator = np.random.default_rng(0)
    snapshots = [
        snapshot(
            number,
            float(generator.normal(3.0, 0.1)),
            cost=float(generator.uniform(1, 9)),
            state="complete" if number % 20 == 0 else "paused",
            of=10,
        )
        for number in range(1000)
    ]
    chooser = ParetoChooser(num_evaluations=10)
    study = study_of([item._replace(state="complete" if item.state == "complete" else "stopped") for item in snapshots])
    trial = study.ask()
    trial.set_user_attr(COSTS, {"latency": 5.0})
    trial.report(3.0, 0)
    pruner, frozen = ParetoPruner(audit_frac=0.0), study._storage.get_trial(trial._trial_id)
    assert least_s(lambda: chooser.choose(snapshots, may_start=True)) < 5e-3
    assert least_s(lambda: pruner.prune(study, frozen)) < 5e-3


def least_s(call: object) -> float:
    assert callable(call)
    times_s = []
    for _ in range(20):
        # Processor time, which does not depend on other processes.
        began_s = time.process_time()
        call()
        times_s.append(time.process_time() - began_s)
    return min(times_s)
