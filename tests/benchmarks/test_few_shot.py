"""The few-shot benchmark: heads meet the budget, rates are chosen on their own draws, differences are pair by pair."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from benchmarks import few_shot
from benchmarks.cache import Cache, Run
from depthweave.spaces.heads import HEADS, head_class, resolve_head


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache("few_shot", folder=tmp_path)


def _run(head: str, draw: int, f1: float, *, kind: str = "run") -> Run:
    return {"kind": kind, "weights": "frozen", "head": head, "shots": 100, "draw": draw, "f1": f1, "parameters": 1000}


def test_heads_with_a_size_meet_the_budget_and_the_others_fit_below_it() -> None:
    for head in HEADS:
        shape = resolve_head(
            head, depth=6, sources=range(7), width=384, classes=13, budget=few_shot.BUDGET, heads=12, causal=False
        )
        found = head_class(head).num_parameters(shape)
        if head_class(head).sized:
            assert found == pytest.approx(few_shot.BUDGET, rel=0.01)
        else:
            assert found < few_shot.BUDGET
        if head == "dwatt":
            assert shape.inner == pytest.approx(192, abs=6)


def test_table_has_differences_draw_by_draw_and_ignores_other_settings(cache: Cache) -> None:
    for draw, baseline, other in ((0, 0.2, 0.25), (1, 0.3, 0.32)):
        few_shot.keep(cache, _run("deeper", draw, baseline))
        few_shot.keep(cache, _run("dwatt", draw, other))
    few_shot.keep(cache, _run("dwatt", 2, 0.9))
    cache.keep({**_run("deeper", 2, 0.1), "setting": {}})
    row = next(line for line in few_shot.table(cache, "frozen").splitlines() if line.startswith("| dwatt "))
    # The interval of 5 and 2 points, by Student's t with one degree of freedom: 12.706 times 1.5.
    assert "| 3 | 49.0 |" in row
    assert row.endswith("| +3.5 | [-15.6, +22.6] | +2.0 |")


def test_best_rate_is_that_of_the_mean_over_draws_and_shots(cache: Cache) -> None:
    rates = few_shot.RATES["frozen"]
    for number, rate in enumerate(rates):
        for draw in few_shot.RATE_DRAWS["frozen"]:
            for shots in few_shot.RATE_SHOTS:
                with pytest.raises(ValueError, match="run with --rates first"):
                    few_shot.rate_of(cache, "frozen", "dwatt")
                run = _run("dwatt", draw, 0.0, kind="rate")
                # The second is best but for one draw.
                value = 0.5 if number == 1 else 0.9 if (number, draw, shots) == (0, 100, 100) else 0.1
                few_shot.keep(cache, {**run, "shots": shots, "rate": rate, "valid_f1": value})
    assert few_shot.rate_of(cache, "frozen", "dwatt") == rates[1]
    assert f"dwatt: {rates[0]:g} 23.3, {rates[1]:g} 50.0" in few_shot.rates_line(cache, "frozen")


def test_a_training_that_two_processes_wrote_counts_once_by_its_last_line(cache: Cache) -> None:
    for f1 in (0.9, 0.2):
        few_shot.keep(cache, {**_run("deeper", 0, f1), "rate": 0.01})
    few_shot.keep(cache, {**_run("deeper", 0, 0.4), "rate": 0.003})
    assert [run["f1"] for run in few_shot.finished(cache, kind="run")] == [0.4]
    assert "| deeper | 100 | 1,000 | 1 | 40.0 |" in few_shot.table(cache, "frozen")
    rates = few_shot.RATES["frozen"]
    for number, rate in enumerate(rates):
        for draw in few_shot.RATE_DRAWS["frozen"]:
            for shots in few_shot.RATE_SHOTS:
                run = {**_run("deeper", draw, 0.0, kind="rate"), "shots": shots, "rate": rate, "valid_f1": number / 10}
                few_shot.keep(cache, run)
    few_shot.keep(cache, run)
    assert few_shot.rate_of(cache, "frozen", "deeper") == rates[-1]


def test_missing_package_and_data_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(few_shot, "PACKAGE", "no-such-package")
    with pytest.raises(ValueError, match="no-such-package is not installed"):
        few_shot.host_folder()
    monkeypatch.setenv("DEPTHWEAVE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="WNUT-17 is not there"):
        few_shot.wnut17()


def test_only_missing_runs_are_trained(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int]] = []

    def train(head: str, *, draw: int, rate: float, **rest: object) -> Run:
        trained.append((head, draw))
        return {**_run(head, draw, 0.5), "rate": rate, "cpu_s": 1.0}

    monkeypatch.setattr(few_shot, "train_head", train)
    monkeypatch.setattr(few_shot, "rate_of", lambda *_: 0.01)
    few_shot.keep(cache, _run("last", 0, 0.5))
    asked = types.SimpleNamespace(weights="frozen", heads=["last", "mix"], draws=[0, 1], shots=[100])
    few_shot._complete_runs(cache, None, None, asked)  # type: ignore[arg-type]
    assert trained == [("mix", 0), ("last", 1), ("mix", 1)]
