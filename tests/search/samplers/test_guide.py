"""The guide: forecasts of paused trials and the outlook of a new one, from the sampler's surrogate."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from depthweave.search.pruners.chooser import NEW, GuideView, NewTrialOutlook, TrialSnapshot
from depthweave.search.pruners.pareto import ParetoChooser
from depthweave.search.samplers import KnownCostSampler, categorical
from depthweave.search.samplers.guide import SurrogateGuide
from depthweave.search.surrogate.pool import FixedPool

CHOICES = {name: CategoricalDistribution(tuple(range(4))) for name in ("depth", "period", "dilation")}
POINTS = [dict(zip(CHOICES, values, strict=True)) for values in product(range(4), repeat=3)]
IDS = [f"architecture-{row}" for row in range(len(POINTS))]
COSTS = np.array([[1.0 + point["depth"]] for point in POINTS])
CANDIDATES = categorical(POINTS, distributions=CHOICES, costs_NC=COSTS)
POOL = FixedPool(CANDIDATES, keys=IDS)
ROWS = {name: row for row, name in enumerate(IDS)}
NUM = 8


def final_loss(row: int) -> float:
    point = POINTS[row]
    return 3.0 - 0.2 * point["depth"] + 0.3 * (point["period"] != 2) + 0.05 * point["dilation"]


def snapshot(number: int, row: int, *, num: int, state: str) -> TrialSnapshot:
    losses = tuple(final_loss(row) + 0.9 * (0.5**step - 0.5 ** (NUM - 1)) for step in range(num))
    return TrialSnapshot(number, IDS[row], {"latency": float(COSTS[row, 0])}, losses, state)  # type: ignore[arg-type]


def some_snapshots() -> list[TrialSnapshot]:
    rows = np.random.default_rng(0).permutation(len(POINTS))[:16]
    whole = [snapshot(number, int(row), num=NUM, state="complete") for number, row in enumerate(rows[:10])]
    return [*whole, *(snapshot(10 + number, int(row), num=2, state="paused") for number, row in enumerate(rows[10:]))]


def test_forecasts_are_exact_for_complete_trials_and_close_for_paused_ones() -> None:
    snapshots = some_snapshots()
    view = SurrogateGuide(POOL).advise(snapshots)
    assert view is not None
    for item in snapshots:
        mean, sd = view.forecasts[item.number]
        final = final_loss(ROWS[item.architecture_id])
        if item.state == "complete":
            assert (mean, sd) == (pytest.approx(final), pytest.approx(0.0, abs=1e-3))
        else:
            assert mean == pytest.approx(final, abs=0.12)
            assert 0 < sd < 0.2


def test_new_trial_of_the_guide_is_the_sampler_s_next_proposal() -> None:
    snapshots = some_snapshots()
    view = SurrogateGuide(POOL).advise(snapshots)
    assert view is not None
    assert view.new is not None
    import optuna

    study = optuna.create_study(directions=["minimize", "minimize"])
    curves = {item.number: item.losses for item in snapshots}
    for item in snapshots:
        row = ROWS[item.architecture_id]
        complete = item.state == "complete"
        study.add_trial(
            optuna.create_trial(
                state=optuna.trial.TrialState.COMPLETE if complete else optuna.trial.TrialState.RUNNING,
                params=POINTS[row],
                distributions=dict(CHOICES),
                values=[item.losses[-1], COSTS[row, 0]] if complete else None,
                user_attrs={"costs": dict(item.costs)},
            )
        )
    sampler = KnownCostSampler(CANDIDATES, seed=0)
    sampler.curves = lambda: curves
    row = sampler.propose(study.get_trials(deepcopy=False), number=len(snapshots))
    assert view.new.costs == {"latency": COSTS[row, 0]}
    assert IDS[row] not in {item.architecture_id for item in snapshots}
    assert SurrogateGuide(POOL).advise(snapshots) == view


def test_guide_expects_nothing_without_a_complete_trial_and_no_new_trial_after_all_have_started() -> None:
    guide = SurrogateGuide(POOL)
    assert guide.advise([snapshot(0, 0, num=2, state="paused")]) is None
    everything = [snapshot(row, row, num=NUM, state="complete") for row in range(len(POINTS))]
    view = guide.advise(everything)
    assert view is not None
    assert view.new is None


class Oracle:
    """A guide with a given view."""

    def __init__(self, view: GuideView) -> None:
        self._view = view

    def advise(self, snapshots: object) -> GuideView:
        return self._view


def choose(view: GuideView, *, may_start: bool = True) -> object:
    # Complete: loss 2 at cost 1, loss 1.5 at cost 2 and a dominated trial. Paused: a half-trained one of cost 1.5.
    done = [
        TrialSnapshot(number, f"a{number}", {"latency": cost}, tuple(np.linspace(3.0, loss, NUM)), "complete")
        for number, (loss, cost) in enumerate([(2.0, 1.0), (1.5, 2.0), (2.5, 3.0)] * 4)
    ]
    paused = TrialSnapshot(12, "b", {"latency": 1.5}, (3.0, 2.8, 2.6, 2.4), "paused")
    chooser = ParetoChooser(num_evaluations=NUM, guide=Oracle(view))
    return chooser.choose([*done, paused], may_start=may_start)


def test_choice_follows_the_guide_s_expectations_of_the_paused_and_the_new_trial() -> None:
    others = dict.fromkeys(range(12), (2.0, 0.01))
    dominated = NewTrialOutlook(2.4, 0.01, {"latency": 1.5})
    better = NewTrialOutlook(0.5, 0.2, {"latency": 1.0})
    # Expected to end at 1.7 for a cost of 1.5, where 2 is the best so far: resumed before a dominated new trial.
    assert choose(GuideView({**others, 12: (1.7, 0.01)}, dominated)) == 12
    assert choose(GuideView({**others, 12: (1.7, 0.01)}, better)) == NEW
    # Expected to be dominated: given up.
    assert choose(GuideView({**others, 12: (2.3, 0.01)}, dominated)) == NEW
    assert choose(GuideView({**others, 12: (2.3, 0.01)}, None), may_start=False) is None


def test_trial_with_a_negligible_expected_improvement_is_given_up() -> None:
    others = dict.fromkeys(range(12), (2.0, 0.01))
    # At a cost of 1.5 the best so far is 2: both would be on the front.
    assert choose(GuideView({**others, 12: (1.99, 1e-5)}, None), may_start=False) == 12
    assert choose(GuideView({**others, 12: (1.9999, 1e-5)}, None), may_start=False) is None
