"""Depthweave beside the users' scripts: figures by hand, what is run again, and every method whole on a tiny space."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cache import Cache
from benchmarks.stock import __main__ as command
from benchmarks.stock.judge import judge, table
from benchmarks.stock.methods import METHODS, Outcome, run
from benchmarks.stock.problem import Finished, prepared_of, read_finished, search_key, training_key, write_finished
from benchmarks.stock.scripts import architecture_of
from benchmarks.stock.truth import Truth, complete, truth_of
from depthweave.spaces import Architecture, BudgetError
from depthweave.trainers import Recipe, TrainingState

TINY = (
    "space.fusions=[none, dwa, concat]",
    "space.dilations=[1]",
    "space.periods=[1, depth]",
    "space.depths=[2, 3]",
    "space.budgets=[20000]",
    "space.head_width=8",
    "recipe.steps=4",
    "recipe.batch=2",
    "recipe.context=16",
    "recipe.num_evaluations=2",
    "recipe.evaluation_tokens=64",
    "search.trials=3",
    "resources.measure_limit_s=0.05",
)

# Three architectures of two objectives each and a third that all share; c is beaten by b.
_TRUTH = Truth(rows={"a": 0, "b": 1, "c": 2}, points_NO=np.array([[4.0, 1.0, 5.0], [2.0, 2.0, 5.0], [3.0, 3.0, 5.0]]))


def _finished(name: str | None, *, whole: bool = True, front: bool = True, perplexity: float | None = None) -> Finished:
    return Finished(
        architecture_id=name,
        tokens=100 if whole else 40,
        is_whole=whole,
        is_reported_complete=name is not None,
        is_on_front=front,
        perplexity=perplexity,
    )


@pytest.fixture(scope="module", name="truth_folder")
def _truth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results that hold the tiny space's truth and nothing else."""
    folder = tmp_path_factory.mktemp("results")
    complete(Cache("stock_truth", folder=folder), overrides=TINY, seeds=[0])
    return folder


@pytest.fixture(name="results")
def _results(truth_folder: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(truth_folder, tmp_path / "results"))


# Figures.


def test_figures_of_a_run_counted_by_hand() -> None:
    finished = [
        _finished("a", perplexity=4.0),
        _finished("c", whole=False, perplexity=2.5),
        _finished("c", whole=False, front=False, perplexity=3.5),
        _finished(None, whole=False, front=False),
    ]
    found = judge(finished, truth=_TRUTH)
    assert (found.trials, found.unbuildable, found.repeats, found.tokens) == (4, 1, 1, 220)
    assert (found.front, found.half_trained, found.reported_wrongly) == (2, 1, 2)
    # The half-trained c looks best, and is a whole perplexity worse than b.
    assert not found.is_best_found
    assert found.regret == pytest.approx(1.0)
    # Up to the corner (4.2, 3.2): a has 0.2 x 2.2, c 1.0 x 0.2 more; of the space b has 2.2 x 1.2, a 0.2 x 1.0 more.
    assert found.hypervolume == pytest.approx((0.44 + 0.2) / (2.64 + 0.2), rel=1e-6)


def test_whole_front_has_hypervolume_1_and_no_regret() -> None:
    found = judge([_finished("a", perplexity=4.0), _finished("b", perplexity=2.0)], truth=_TRUTH)
    assert found.hypervolume == pytest.approx(1.0)
    assert (found.is_best_found, found.regret, found.half_trained) == (True, 0.0, 0)


def test_repeat_that_was_trained_to_its_end_makes_a_member_whole() -> None:
    found = judge([_finished("a", whole=False, perplexity=4.5), _finished("a", perplexity=4.0)], truth=_TRUTH)
    assert (found.front, found.half_trained, found.repeats) == (1, 0, 1)


def test_training_on_another_text_than_the_truths_is_refused() -> None:
    with pytest.raises(ValueError, match=r"architecture a was trained to a perplexity of 4\.1000, and to 4\.0000"):
        judge([_finished("a", perplexity=4.1)], truth=_TRUTH)
    # A stopped trial has not got there yet.
    judge([_finished("a", whole=False, perplexity=6.0)], truth=_TRUTH)


def test_run_without_a_front_is_no_error() -> None:
    found = judge([_finished(None, whole=False, front=False)], truth=_TRUTH)
    assert (found.hypervolume, found.is_best_found, found.regret) == (0.0, False, math.inf)


def test_table_has_ratios_of_time_to_the_first_method_on_the_same_seeds() -> None:
    figures = {**judge([_finished("a", perplexity=4.0)], truth=_TRUTH)._asdict(), "key": "k"}
    runs = [
        {**figures, "method": "depthweave", "seed": 0, "wall_s": 10.0},
        {**figures, "method": "depthweave", "seed": 1, "wall_s": 20.0},
        {**figures, "method": "other", "seed": 1, "wall_s": 40.0},
    ]
    lines = table(runs, methods=["depthweave", "other", "not run"]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| depthweave | 2 | 15 | 1.00 | 0.00 |")
    assert lines[3].startswith("| other | 1 | 40 | 2.00 |")
    assert {line.count("|") for line in lines} == {14}


# What is searched.


def test_scripts_span_the_space_of_the_search() -> None:
    prepared = prepared_of([], seed=0)
    found, num_refused = set(), 0
    for combination in [*prepared.space.by_combination, *(item.combination for item in prepared.space.infeasible)]:
        fusion, rule, depth, _ = combination
        config = {"fusion": fusion, "depth": depth}
        if rule is not None:
            config |= {"dilation": rule.number, "period": "depth" if rule.period == depth else rule.period}
        try:
            found.add(architecture_of(config, prepared).id)
        except BudgetError:
            num_refused += 1
    assert found == {item.architecture.id for item in prepared.space}
    assert num_refused == len(prepared.space.infeasible) > 0


def test_keys_leave_seeds_out_and_tell_what_may_stand_together() -> None:
    first, again, longer = (
        prepared_of(TINY, seed=0),
        prepared_of(TINY, seed=3),
        prepared_of([*TINY, "search.trials=9"], seed=0),
    )
    assert (search_key(first), training_key(first)) == (search_key(again), training_key(again))
    assert search_key(first) != search_key(longer)
    assert training_key(first) == training_key(longer)


def test_key_tells_when_models_start_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepared_of(TINY, seed=0)
    before = training_key(prepared), search_key(prepared)
    start = TrainingState.start

    def doubled(architecture: Architecture, *, recipe: Recipe, device: str) -> TrainingState:
        state = start(architecture, recipe=recipe, device=device)
        with torch.no_grad():
            for weights in state.model.parameters():
                weights.mul_(2)
        return state

    monkeypatch.setattr(TrainingState, "start", doubled)
    assert training_key(prepared) != before[0]
    assert search_key(prepared) != before[1]


def test_finished_trials_are_read_as_they_were_written(tmp_path: Path) -> None:
    finished = [_finished("a", perplexity=4.0), _finished(None, front=False)]
    write_finished(finished, folder=tmp_path)
    assert read_finished(tmp_path) == finished


# The command.


@pytest.mark.slow
def test_truth_is_whole_once_all_are_trained_and_trains_nothing_twice(results: Path) -> None:
    cache, prepared = Cache("stock_truth", folder=results), prepared_of(TINY, seed=0)
    lines = cache.runs()
    found = truth_of(lines, prepared=prepared)
    assert found is not None
    assert found.points_NO.shape == (len(prepared.space), 3)
    assert found.points_NO[found.rows[prepared.reference.architecture.id], 1] == 1.0
    complete(cache, overrides=TINY, seeds=[0])
    assert cache.runs() == lines
    first = next(iter(found.rows))
    assert truth_of([line for line in lines if line["architecture_id"] != first], prepared=prepared) is None
    assert truth_of(lines, prepared=prepared_of(TINY, seed=1)) is None


@pytest.mark.slow
def test_run_that_is_there_is_not_run_again(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []

    def fake(name: str, *, folder: Path, seed: int, overrides: list[str]) -> Outcome:
        ran.append((name, seed))
        return Outcome(1.0, [_finished(prepared_of(TINY, seed=0).reference.architecture.id)])

    monkeypatch.setattr(command, "run", fake)
    command.main([*_options(results), "--method", "depthweave"])
    command.main([*_options(results), "--method", "depthweave", "--method", "ray + optuna"])
    assert ran == [("depthweave", 0), ("ray + optuna", 0)]


def test_method_that_fails_says_so_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"(?s)^optuna, 2 processes \+ median, seed 0: exit code 1: .*'search.nonsense' is not known"
    ):
        run("optuna, 2 processes + median", folder=tmp_path, seed=0, overrides=["search.nonsense=1"])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", METHODS)
def test_method_runs_whole_and_reports_a_front(name: str, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([*_options(results), "--method", name])
    (line,) = Cache("stock", folder=results).runs()
    assert (line["method"], line["trials"]) == (name, 3)
    assert line["front"] >= 1
    assert 0 < line["hypervolume"] <= 1
    assert line["tokens"] > 0
    assert f"| {name} | 1 |" in capsys.readouterr().out


def _options(results: Path) -> list[str]:
    return ["--results", str(results), "--seeds", "0", *(part for item in TINY for part in ("--set", item))]
