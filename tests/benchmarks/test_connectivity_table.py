"""Sampler and pruner together: every arm replays, none spends less than hindsight, and shares are counted right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest

from benchmarks.arms import ARMS, RIVALS, Arm
from benchmarks.connectivity_problems import CurveProblem
from benchmarks.connectivity_table import _cells, hindsight, identity, run, spent_until, table
from benchmarks.replay import Measuring
from benchmarks.yardstick import Yardstick
from tests.benchmarks.planted import planted_curves

ALL_ARE_TRAINED = ("known-cost", "random", "tpe", "nsga2")
PRESENT = [
    pytest.param(arm, marks=pytest.mark.skipif(arm in RIVALS and arm.missing is not None, reason=f"no {arm.missing}"))
    for arm in ARMS.values()
]


@pytest.fixture(scope="module")
def problem() -> CurveProblem:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return planted_curves(num_parameters=3, num_choices=3, num_evaluations=5)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("arm", PRESENT, ids=lambda item: item.name)
def test_no_arm_spends_less_than_hindsight(arm: Arm, workers: int, problem: CurveProblem) -> None:
    assert arm.missing is None
    yardstick = Yardstick(problem.problem.points_NO)
    search = run(arm, problem=problem, workers=workers, seed=0)
    assert search["evaluations"] <= problem.curves.losses_NE.size
    spent = [spent_until(share, search=search, yardstick=yardstick) for share in (0.5, 0.95, 0.99, 1.0)]
    assert spent == sorted(spent)
    assert all(mine >= hindsight(share, problem=problem) for mine, share in zip(spent, (0.5, 0.95), strict=False))
    if arm.name in ALL_ARE_TRAINED:
        assert (search["complete"], search["evaluations"]) == (27, 135)
        assert spent[-1] <= 135


@pytest.mark.parametrize("arm", PRESENT, ids=lambda item: item.name)
def test_every_arm_pays_for_its_measurements_by_the_same_rule(arm: Arm) -> None:
    charged = planted_curves(num_parameters=3, num_choices=3, num_evaluations=5, measuring=Measuring(0.5, 0.1))
    search = run(arm, problem=charged, workers=1, seed=0)
    # With one worker no trial waits. All 27 rows are tried in the end, and each is measured once, surveyed or not.
    assert search["evaluations"] % 1 == (27 * 0.5) % 1
    assert search["evaluations"] >= 27 * 0.5 + 27 + 4 * search["complete"]
    if arm.name in ALL_ARE_TRAINED:
        assert search["evaluations"] == 27 * (0.5 + 5)
    assert len(search["growth_s"]) == len(search["growth"])


def test_same_seed_same_search(problem: CurveProblem) -> None:
    arm = ARMS["known-cost + pareto"]
    first, again = (run(arm, problem=problem, workers=4, seed=7) for _ in range(2))
    assert first == again


def test_shares_are_counted_by_hand(problem: CurveProblem) -> None:
    # The front is the three rows whose other parameters are 1: a cost of 0, 1, 2 and a loss of 1, 2/3, 1/3.
    yardstick = Yardstick(problem.problem.points_NO)
    points_FO = problem.problem.points_NO[sorted(yardstick.front)]
    assert np.allclose(points_FO, [[1.0, 0.0], [2 / 3, 1.0], [1 / 3, 2.0]])
    # The corner is (3.0 + 0.1 * 8/3, 2.2): the first row alone has 2.267 x 2.2 of 4.987 + 1/3 x 1.2 + 1/3 x 0.2.
    search = {"growth": [(5, min(yardstick.front)), (40, sorted(yardstick.front)[1])]}
    first = (34 / 15 * 2.2) / (34 / 15 * 2.2 + 1 / 3 * 1.2 + 1 / 3 * 0.2)
    assert spent_until(first - 1e-9, search=search, yardstick=yardstick) == 5
    assert spent_until(first + 1e-9, search=search, yardstick=yardstick) == 40
    assert spent_until(1.0, search=search, yardstick=yardstick) == math.inf
    assert [hindsight(share, problem=problem) for share in (first - 1e-9, first + 1e-9, 0.9999)] == [5, 10, 15]


def test_another_table_is_another_identity(problem: CurveProblem) -> None:
    same = planted_curves(num_parameters=3, num_choices=3, num_evaluations=5)
    assert identity(same) == identity(problem)
    same.curves.losses_NE[0, 0] += 1e-9
    assert identity(same) != identity(problem)
    # What was run before measuring was charged is not shown beside what is charged.
    charged = planted_curves(num_parameters=3, num_choices=3, num_evaluations=5, measuring=Measuring(0.5, 0.1))
    dearer = planted_curves(num_parameters=3, num_choices=3, num_evaluations=5, measuring=Measuring(0.6, 0.1))
    assert len({identity(problem), identity(charged), identity(dearer)}) == 3


def test_table_tells_beside_the_median_who_never_arrived_and_the_lowest_end(problem: CurveProblem) -> None:
    front = sorted(Yardstick(problem.problem.points_NO).front)
    runs: list[dict[str, Any]] = [
        {"table": identity(problem), "arm": "random", "workers": 1, "seed": seed, "evaluations": 100, "audit": 0}
        | {"growth": [(5 * place, row) for place, row in enumerate(front[: 1 if seed == 3 else None], 1)]}
        for seed in range(5)
    ]
    cells = dict(_cells(runs, problem=problem, workers=1, seeds=range(5)))
    assert cells["random"].never == (1, 1)
    lowest = Yardstick(problem.problem.points_NO).ratio(front[:1])
    assert cells["random"].lowest == lowest < 0.99
    *_, last = table(cells, problem=problem, workers=1).splitlines()
    assert f"{15 / 135:.1%}, 1 never" in last
    assert f"({lowest:.4f})" in last
