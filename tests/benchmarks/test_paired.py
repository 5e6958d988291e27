"""The paired trainings: every contender meets the budget, and the table computes differences pair by pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import paired, paired_tables
from benchmarks.cache import Cache, Run

Capture = pytest.CaptureFixture[str]


def test_every_contender_meets_the_budget() -> None:
    for fusion, rule in paired.CONTENDERS.values():
        if rule not in ("largest", "random"):
            assert paired.architecture_of(fusion, rule, 257).fusion == fusion


def test_tokens_are_ten_a_parameter() -> None:
    recipe = paired.RECIPE
    assert recipe.steps * recipe.batch * recipe.context >= 10 * paired.BUDGET


def _run(name: str, seed: int, loss: float) -> Run:
    return {"kind": "run", "contender": name, "seed": seed, "loss": loss, "parameters": 300_000}


def test_table_has_differences_by_seed() -> None:
    losses = {("none", 0): 2.0, ("mudd", 0): 1.9, ("none", 1): 2.1, ("mudd", 1): 2.05, ("mudd", 2): 9.0}
    runs = [_run(name, seed, loss) for (name, seed), loss in losses.items()]
    row = next(line for line in paired_tables.losses(runs).splitlines() if line.startswith("| mudd "))
    assert "| 2 | 1.9750 | -0.0750 |" in row
    assert row.count("-0.1000 -0.0500") == 1


def test_at_equal_time_plain_trains_longer() -> None:
    losses = {("none", 0): 2.0, ("none", 1): 2.2, ("mudd", 0): 1.875, ("mudd", 1): 2.1, ("gated2", 0): 1.0}
    runs = [_run(name, seed, loss) for (name, seed), loss in losses.items()]
    for seed, loss in ((0, 1.8), (1, 1.9)):
        runs.append({"kind": "longer", "contender": "none", "seed": seed, "length": 1.44, "loss": loss})
    for name, step in (("none", 1.0), ("mudd", 1.2), ("gated2", 1.5)):
        runs.append({"kind": "times", "contender": name, "step_latency": step})
    # 1.2 is half way to 1.44 by its logarithm; no plain model trained as long as gated2.
    *_, row = paired_tables.equal_times(runs).splitlines()
    assert row.startswith("| mudd | 1.20 | 2 | +0.0125 |")
    assert row.endswith("| -0.0250 +0.0500 |")


def test_wirings_are_paired_with_the_strided_one() -> None:
    runs = [_run("dwa 1x4", 0, 2.0), _run("dwa 1x4", 1, 2.1), _run("dwa first:2", 1, 2.2), _run("dwa first:2", 2, 9.0)]
    *_, row = paired_tables.wirings(runs).splitlines()
    assert row == "| dwa first:2 | 1 | +0.1000 | too few seeds | +0.1000 |"


def test_tables_ignore_runs_of_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    cache = Cache("paired", folder=tmp_path)
    for name, loss in (("none", 2.0), ("mudd", 1.9)):
        paired.keep(cache, {**_run(name, 0, loss), "curve": []})
    cache.keep({**_run("mudd", 1, 9.0), "setting": {}})
    monkeypatch.setattr(paired, "Cache", lambda name: Cache(name, folder=tmp_path))
    monkeypatch.setattr("sys.argv", ["paired", "--table"])
    paired.main()
    assert "| mudd | 300,000 | 1 | 1.9000 | -0.1000 |" in capsys.readouterr().out


def test_courses_are_mean_differences_at_each_evaluation() -> None:
    losses = {("none", 0): (3.0, 2.0), ("none", 1): (3.0, 2.2), ("mudd", 0): (2.9, 1.95), ("mudd", 1): (2.7, 2.45)}
    runs = [
        {**_run(name, seed, last), "curve": [[1000, first], [2000, last]]}
        for (name, seed), (first, last) in losses.items()
    ]
    head, _, row = paired_tables.courses(runs, tokens_per_step=10).splitlines()
    assert head == "| difference to plain after | seeds | 100 steps | 200 steps |"
    assert row == "| mudd | 2 | -0.2000 | +0.1000 |"


def test_best_rate_of_a_family_is_taken(tmp_path: Path) -> None:
    cache = Cache("paired", folder=tmp_path)
    tried = {2e-3: 1.9, 4e-3: 1.8, 8e-3: 2.2}
    runs = [{"kind": "rate", "family": "mudd", "rate": rate, "loss": loss} for rate, loss in tried.items()]
    for run in runs:
        paired.keep(cache, run)
    assert paired.rate_of(cache, "mudd4") == pytest.approx(4e-3)
    assert "mudd: 0.002 1.9000, 0.004 1.8000, 0.008 2.2000" in paired_tables.rates(runs)
