"""The benchmark of learning rates: which rate is chosen, and what its choice costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import learning_rates
from benchmarks.cache import Cache
from benchmarks.learning_rates import CHOICE, RATES, SEEDS, TARGETS


def test_regret_is_the_loss_of_the_chosen_rate_less_the_lowest(tmp_path: Path) -> None:
    cache = Cache("learning_rates", folder=tmp_path)
    target = TARGETS["all steps"]
    # Short trainings prefer the second rate with one seed and the third with the other; long ones prefer the third.
    short = {RATES[0]: (2.5, 2.5), RATES[1]: (2.0, 2.2), RATES[2]: (2.1, 2.1)}
    long = {RATES[0]: (2.0, 2.0), RATES[1]: (1.75, 1.75), RATES[2]: (1.5, 1.5)}
    for setting, losses in ((CHOICE, short), (target, long)):
        for rate, own in losses.items():
            for seed, loss in zip(SEEDS, own, strict=True):
                cache.keep({"fusion": "dwa", **setting._asdict(), "rate": rate, "seed": seed, "loss": loss})
    assert learning_rates.regrets_of(cache, "dwa", target) == [0.25, 0.0]
    assert learning_rates.regrets_of(cache, "none", target) == []
    assert "| all steps | short trainings | 0.1250 | 0.2500 |" in learning_rates.regret_table(cache)
    assert "| all steps | 0.004 for all | 0.5000 | 0.5000 |" in learning_rates.regret_table(cache)
    assert "| 2.000 | 1.750 | **1.500** |" in learning_rates.loss_table(cache)


def test_setting_with_a_missing_run_has_no_row(tmp_path: Path) -> None:
    cache = Cache("learning_rates", folder=tmp_path)
    cache.keep({"fusion": "dwa", **CHOICE._asdict(), "rate": RATES[0], "seed": SEEDS[0], "loss": 2.0})
    assert learning_rates.losses_of(cache, "dwa", CHOICE) == {}
    assert len(learning_rates.loss_table(cache).splitlines()) == 2


@pytest.mark.parametrize("setting", [CHOICE, *TARGETS.values()])
def test_widths_are_a_factor_of_two_apart(setting: learning_rates.Setting) -> None:
    assert learning_rates.architecture_of("dwa", setting).width == (96 if setting.budget == 600_000 else 48)
