"""Probabilities against Student's t in closed form, and what they must do whatever the numbers."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest

from depthweave.reports.front import front
from depthweave.reports.records import Record
from depthweave.reports.verdicts import VERDICT_COLUMNS, verdict_values, verdicts_of
from tests.reports.confirmed import PAIR, confirmed_records, seeded
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

_EXACT = {"latency_low": None, "latency_high": None}


def _cdf(t: float, *, degrees: int) -> float:
    """Student's t distribution for one and two degrees of freedom."""
    if degrees == 1:
        return 0.5 + math.atan(t) / math.pi
    return 0.5 + t / (2 * math.sqrt(2 + t * t))


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_probability_of_two_is_that_of_the_paired_t_test(num_seeds: int) -> None:
    mine, other = [1.30, 1.52, 1.40][:num_seeds], [1.34, 1.53, 1.45][:num_seeds]
    records = [
        *seeded("mine", dict(enumerate(mine)), trial=0, latency=1.1, **_EXACT),
        *seeded("other", dict(enumerate(other)), trial=1, latency=1.0, **_EXACT),
    ]
    differences = [b - a for a, b in zip(mine, other, strict=True)]
    t = statistics.fmean(differences) / (statistics.stdev(differences) / math.sqrt(num_seeds))
    verdicts = verdicts_of(records, objectives=PAIR)
    # The faster one stands in any case, the slower one where its loss is the lower. Four standard errors of draws.
    assert verdicts["other"].front_probability == 1.0
    assert verdicts["mine"].front_probability == pytest.approx(_cdf(t, degrees=num_seeds - 1), abs=0.04)


def test_latency_interval_decides_between_equal_losses() -> None:
    values = {0: 1.30, 1: 1.50, 2: 1.40}
    records = [
        *seeded("quick", values, trial=0, latency=1.00, latency_low=0.98, latency_high=1.02),
        *seeded("slow", {key: loss + 1e-9 for key, loss in values.items()}, trial=1, latency=1.01, **_EXACT),
    ]
    verdicts = verdicts_of(records, objectives=PAIR)
    # Losses fit without noise and `slow` has the higher one: it stands where the draw of the other's latency is above
    # 1.01, which is 1.96 / 2 standard deviations away.
    beyond = 1 - statistics.NormalDist().cdf(1.96 / 2)
    assert verdicts["slow"].front_probability == pytest.approx(beyond, abs=0.04)
    assert verdicts["quick"].front_probability == 1.0


def test_verdicts_of_confirmed_records() -> None:
    verdicts = verdicts_of(confirmed_records(), objectives=PAIR)
    assert {key for key, verdict in verdicts.items() if verdict.settled} == {"plain", "close"}
    assert 0.5 < verdicts["best"].front_probability < 0.95
    assert verdicts["once"].front_probability < 0.01
    assert verdicts["plain"].difference is None
    difference = verdicts["close"].difference
    assert difference is not None
    assert verdicts["close"].plain_id == "plain"
    assert difference.mean == pytest.approx(statistics.fmean([-0.21, -0.21, -0.185]))
    assert difference.low is not None
    assert difference.low < difference.mean
    assert verdicts["once"].loss.half_width is None


def test_verdicts_are_the_same_twice_and_none_without_seeds() -> None:
    records = confirmed_records()
    assert verdicts_of(records, objectives=PAIR) == verdicts_of(records, objectives=PAIR)
    assert verdicts_of([trial.record for trial in synthetic_trials()], objectives=OBJECTIVES) == {}
    assert verdicts_of([], objectives=OBJECTIVES) == {}


@pytest.mark.parametrize("fault", ["two seeds", "a seed diverged"])
def test_certain_place_is_not_settled_with(fault: str) -> None:
    records = confirmed_records()
    if fault == "two seeds":
        records = [item for item in records if item.seed != 2]
    else:
        records.append(
            make_record(
                99, architecture_id="close", seed=3, state="diverged", perplexity=None, loss=None, last_loss=None
            )
        )
    verdict = verdicts_of(records, objectives=PAIR)["close"]
    assert verdict.front_probability >= 0.95
    assert not verdict.settled


def test_settled_members_truly_stand_on_the_front() -> None:
    """Of the members called settled, at most a twentieth may be dominated by the truth, which is known here."""
    rng = np.random.default_rng(1)
    num_settled = num_wrong = 0
    for _ in range(40):
        truth = 1.3 + rng.gamma(2.0, 0.01, size=8)
        latency = 1.0 + 0.1 * rng.random(8)
        effects = rng.normal(0, 0.05, size=5)
        records: list[Record] = []
        for row in range(8):
            losses = {s: float(truth[row] + effects[s] + rng.normal(0, 0.005)) for s in range(5)}
            records += seeded(f"{row}", losses, trial=row, latency=float(latency[row]), **_EXACT)
        verdicts = verdicts_of(records, objectives=PAIR)
        for row in range(8):
            dominated = bool(((truth < truth[row]) & (latency < latency[row])).any())
            num_settled += verdicts[f"{row}"].settled
            num_wrong += verdicts[f"{row}"].settled and dominated
    assert num_settled > 60
    assert num_wrong <= 0.05 * num_settled


def test_probabilities_leave_out_nobody_who_matters() -> None:
    """Far dominated records are not drawn, and change nothing."""
    records = confirmed_records()
    far = [
        dataclasses.replace(make_record(50 + number, loss=3.0 + number, perplexity=math.exp(3.0 + number)), latency=9.0)
        for number in range(5)
    ]
    verdicts = verdicts_of([*records, *far], objectives=PAIR)
    for item in front(records, objectives=PAIR):
        alone = verdicts_of(records, objectives=PAIR)[item.architecture_id].front_probability
        assert verdicts[item.architecture_id].front_probability == pytest.approx(alone, abs=0.05)
    assert all(verdicts[item.architecture_id].front_probability == 0.0 for item in far)


def test_two_seeds_of_wide_spread_overflow_nothing() -> None:
    """One degree of freedom: a draw of the loss may be of any size."""
    records = [*seeded("a", {0: 1.0, 1: 6.0}, trial=0), *seeded("b", {0: 3.0, 1: 2.0}, trial=1)]
    assert all(0 < item.front_probability < 1 for item in verdicts_of(records, objectives=["perplexity"]).values())


def test_verdict_values_are_its_columns() -> None:
    for verdict in [None, *verdicts_of(confirmed_records(), objectives=PAIR).values()]:
        values = verdict_values(verdict)
        assert values.keys() == VERDICT_COLUMNS.keys()
        assert all(value is None or type(value) is VERDICT_COLUMNS[name].kind for name, value in values.items())
