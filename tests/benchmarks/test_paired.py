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


def test_best_rate_of_a_family_is_taken(tmp_path: Path) -> None:
    cache = Cache("paired", folder=tmp_path)
    for rate, loss in ((2e-3, 1.9), (4e-3, 1.8), (8e-3, 2.2)):
        paired.keep(cache, {"kind": "rate", "family": "mudd", "rate": rate, "loss": loss})
    assert paired.rate_of(cache, "mudd4") == pytest.approx(4e-3)
    assert "mudd: 0.002 1.9000, 0.004 1.8000, 0.008 2.2000" in paired.rates_line(cache)
