"""Verdicts against Student's t in closed form, and what they must do whatever the numbers."""

from __future__ import annotations

import dataclasses
import math
import statistics

import pytest

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.student_t import student_cdf
from depthweave.reports.analysis.verdict_text import why_not_settled
from depthweave.reports.analysis.verdicts import VERDICT_COLUMNS, distinguishable, verdict_values, verdicts_of
from tests.reports.confirmed import PAIR, confirmed_records, seeded
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

_EXACT = {"latency_low": None, "latency_high": None}


@pytest.mark.parametrize("fresh", [2, 3, 5])
def test_probability_of_two_is_that_of_the_paired_t_test(fresh: int) -> None:
    mine, other = [1.0, 1.30, 1.52, 1.40, 1.44, 1.39][: fresh + 1], [2.0, 1.34, 1.53, 1.45, 1.43, 1.40][: fresh + 1]
    records = [
        *seeded("mine", dict(enumerate(mine)), trial=0, latency=1.1, **_EXACT),
        *seeded("other", dict(enumerate(other)), trial=1, latency=1.0, **_EXACT),
    ]
    differences = [b - a for a, b in zip(mine[1:], other[1:], strict=True)]
    t = statistics.fmean(differences) / (statistics.stdev(differences) / math.sqrt(fresh))
    verdicts = verdicts_of(records, objectives=PAIR)
    # The faster one is on the front in any case, the slower one if its loss is lower.
    assert verdicts["other"].front_probability == 1.0
    assert verdicts["mine"].front_probability == pytest.approx(float(student_cdf(t, degrees=fresh - 1)))
    assert verdicts["mine"].rival_id == "other"


def test_latency_interval_decides_between_equal_losses() -> None:
    values = {0: 1.30, 1: 1.50, 2: 1.40}
    records = [
        *seeded("quick", values, trial=0, latency=1.00, latency_low=0.98, latency_high=1.02),
        *seeded("slow", {key: loss + 1e-9 for key, loss in values.items()}, trial=1, latency=1.01, **_EXACT),
    ]
    verdicts = verdicts_of(records, objectives=PAIR, tolerances=dict.fromkeys(PAIR, 0.0))
    # Losses fit without noise and `slow` has the higher one: it is on the front where the other's latency is above
    # 1.01, which is 1.96 / 2 standard deviations away.
    beyond = 1 - statistics.NormalDist().cdf(1.96 / 2)
    assert verdicts["slow"].front_probability == pytest.approx(beyond, abs=1e-3)
    assert verdicts["quick"].front_probability == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", ["latency", "step_latency", "decode_latency"])
def test_interval_of_every_timed_objective_leaves_a_place_open(name: str) -> None:
    values = dict(enumerate((1.30, 1.50, 1.40, 1.45, 1.35, 1.41)))
    ends = {f"{name}_low": 0.9, f"{name}_high": 1.3}
    quick = seeded("quick", values, trial=0, **{name: 1.0, **ends})
    slow = seeded("slow", {key: loss + 0.1 for key, loss in values.items()}, trial=1, **{name: 0.98, **ends})
    verdict = verdicts_of([*quick, *slow], objectives=("perplexity", name))["slow"]
    assert 0.3 < verdict.front_probability < 0.7
    assert not verdict.settled


def test_twin_endangers_no_place() -> None:
    """As `quick` and `slow` above: by the tolerances they are one finding, and both are on the front."""
    values = dict(enumerate((1.30, 1.50, 1.40, 1.45, 1.35, 1.41)))
    quick = seeded("quick", values, trial=0, latency=1.00, latency_low=0.999, latency_high=1.001)
    slow = seeded("slow", {key: loss + 0.001 for key, loss in values.items()}, trial=1, latency=1.01, **_EXACT)
    verdicts = verdicts_of([*quick, *slow], objectives=PAIR)
    assert verdicts["quick"].settled
    assert verdicts["slow"].settled
    slower = seeded("slow", {key: loss + 0.001 for key, loss in values.items()}, trial=1, latency=1.05, **_EXACT)
    assert verdicts_of([*quick, *slower], objectives=PAIR)["slow"].rival_id == "quick"
    assert verdicts_of([*quick, *slower], objectives=PAIR)["slow"].front_probability < 0.01


def test_verdicts_of_confirmed_records() -> None:
    verdicts = verdicts_of(confirmed_records(), objectives=PAIR)
    assert {key for key, verdict in verdicts.items() if verdict.settled} == {"plain", "close"}
    assert 0.5 < verdicts["best"].front_probability < 0.95
    assert verdicts["once"].front_probability < 0.01
    assert verdicts["once"].loss.num == 0
    assert verdicts["plain"].difference is None
    difference = verdicts["close"].difference
    assert difference is not None
    assert verdicts["close"].plain_id == "plain"
    assert difference.mean == pytest.approx(statistics.fmean([-0.21, -0.185, -0.21, -0.195, -0.195]))
    assert difference.low is not None
    assert difference.low < difference.mean
    assert verdicts["once"].loss.half_width is None


def test_difference_and_place_on_one_card_follow_from_the_same_numbers() -> None:
    """A card once had both: better than plain by an interval without zero, and on the front with 55 %, plain its rival.

    Now a member that is not settled names its rival, whose interval includes zero.
    """
    records = confirmed_records()
    verdicts = verdicts_of(records, objectives=PAIR)
    ids = list(verdicts)
    apart = distinguishable(records, ids=ids)
    for key, verdict in verdicts.items():
        rival = verdict.rival_id
        if verdict.loss.num and not verdict.settled and rival is not None and verdicts[rival].loss.num:
            assert not apart[ids.index(key), ids.index(rival)]
            assert verdict.rival_name in why_not_settled(verdict)
        if verdict.difference is not None and verdict.plain_id == rival:
            low, high = verdict.difference.low, verdict.difference.high
            assert low is None or high is None or (low > 0 or high < 0) == apart[ids.index(key), ids.index(rival)]


def test_verdicts_are_the_same_twice_and_none_without_fresh_seeds() -> None:
    records = confirmed_records()
    assert verdicts_of(records, objectives=PAIR) == verdicts_of(records, objectives=PAIR)
    assert verdicts_of([trial.record for trial in synthetic_trials()], objectives=OBJECTIVES) == {}
    assert verdicts_of([item for item in records if item.seed < 2], objectives=PAIR) == {}
    assert verdicts_of([], objectives=OBJECTIVES) == {}


@pytest.mark.parametrize("fault", ["four seeds", "a seed diverged"])
def test_certain_place_is_not_settled_with(fault: str) -> None:
    records = confirmed_records()
    if fault == "four seeds":
        records = [item for item in records if item.seed != 2]
    else:
        records.append(
            make_record(
                99, architecture_id="close", seed=6, state="diverged", perplexity=None, loss=None, last_loss=None
            )
        )
    verdict = verdicts_of(records, objectives=PAIR)["close"]
    assert verdict.front_probability >= 0.975
    assert not verdict.settled


def test_probabilities_leave_out_no_rival_that_matters() -> None:
    """Far dominated records change nothing; one of the search's seed alone that is as good as a member does."""
    records = confirmed_records()
    far = [
        dataclasses.replace(make_record(50 + number, loss=3.0 + number, perplexity=math.exp(3.0 + number)), latency=9.0)
        for number in range(5)
    ]
    alone, verdicts = (verdicts_of(held, objectives=PAIR) for held in (records, [*records, *far]))
    for item in front(records, objectives=PAIR):
        assert verdicts[item.architecture_id] == alone[item.architecture_id]
    assert all(verdicts[item.architecture_id].front_probability < 1e-3 for item in far)
    as_good = seeded("new", {0: 1.29}, trial=60, latency=1.25, **_EXACT)
    beside = verdicts_of([*records, *as_good], objectives=PAIR)
    assert not beside["close"].settled
    assert beside["close"].rival_id == "new"


def test_two_seeds_of_wide_spread_overflow_nothing() -> None:
    records = [*seeded("a", {1: 1.0, 2: 6.0}, trial=0), *seeded("b", {1: 3.0, 2: 2.0}, trial=1)]
    assert all(0 < item.front_probability < 1 for item in verdicts_of(records, objectives=["perplexity"]).values())


def test_verdict_values_are_its_columns() -> None:
    for verdict in [None, *verdicts_of(confirmed_records(), objectives=PAIR).values()]:
        values = verdict_values(verdict)
        assert values.keys() == VERDICT_COLUMNS.keys()
        assert all(value is None or type(value) is VERDICT_COLUMNS[name].kind for name, value in values.items())
