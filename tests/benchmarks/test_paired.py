"""The paired trainings: every contender meets the budget, and the table computes differences pair by pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import paired
from benchmarks.cache import Cache


def test_every_contender_meets_the_budget() -> None:
    for fusion, rule in paired.CONTENDERS.values():
        if rule not in ("largest", "random"):
            assert paired.architecture_of(fusion, rule, 257).fusion == fusion


def test_tokens_are_ten_a_parameter() -> None:
    recipe = paired.RECIPE
    assert recipe.steps * recipe.batch * recipe.context >= 10 * paired.BUDGET


def test_table_has_differences_by_seed_and_ignores_other_settings(tmp_path: Path) -> None:
    cache = Cache("paired", folder=tmp_path)
    for seed, plain, other in ((0, 2.0, 1.9), (1, 2.1, 2.05)):
        for name, loss in (("none", plain), ("mudd", other)):
            paired.keep(cache, {"kind": "run", "contender": name, "seed": seed, "loss": loss, "parameters": 300_000})
    cache.keep({"kind": "run", "contender": "mudd", "seed": 2, "loss": 9.0, "setting": {}})
    row = next(line for line in paired.table(cache).splitlines() if line.startswith("| mudd "))
    assert "| 2 | 1.9750 | -0.0750 |" in row
    assert row.count("-0.1000 -0.0500") == 1


def test_courses_are_mean_differences_at_each_evaluation(tmp_path: Path) -> None:
    cache = Cache("paired", folder=tmp_path)
    tokens = paired.RECIPE.tokens_per_step
    losses = {("none", 0): (3.0, 2.0), ("none", 1): (3.0, 2.2), ("mudd", 0): (2.9, 1.95), ("mudd", 1): (2.7, 2.45)}
    for (name, seed), (first, last) in losses.items():
        curve = [[100 * tokens, first], [200 * tokens, last]]
        paired.keep(cache, {"kind": "run", "contender": name, "seed": seed, "curve": curve})
    head, _, row = paired.courses(cache).splitlines()
    assert head == "| difference to plain after | seeds | 100 steps | 200 steps |"
    assert row == "| mudd | 2 | -0.2000 | +0.1000 |"


def test_best_rate_of_a_family_is_taken(tmp_path: Path) -> None:
    cache = Cache("paired", folder=tmp_path)
    for rate, loss in ((2e-3, 1.9), (4e-3, 1.8), (8e-3, 2.2)):
        paired.keep(cache, {"kind": "rate", "family": "mudd", "rate": rate, "loss": loss})
    assert paired.rate_of(cache, "mudd4") == pytest.approx(4e-3)
    assert "mudd: 0.002 1.9000, 0.004 1.8000, 0.008 2.2000" in paired.rates_line(cache)
