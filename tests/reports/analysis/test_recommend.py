"""What is recommended under limits is the lowest perplexity that meets them, and never more certain than the seeds."""

from __future__ import annotations

import pytest

from depthweave.reports.analysis.recommend import (
    Limit,
    certainty_sentence,
    close_rivals,
    limits_of,
    recommendation,
    recommended,
    uncertainty_sentence,
)
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.store.records import Record
from tests.reports.confirmed import PAIR, confirmed_records, seeded
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

RECORDS = [trial.record for trial in synthetic_trials()]
COMPLETE = [record for record in RECORDS if record.state == "complete"]


def _latency(value: float) -> dict[str, Limit]:
    return {"latency": Limit(value, f"{value:.2f}×")}


@pytest.mark.parametrize("bound", [0.6, 0.8, 1.0, 1.05, 1.1, 2.0])
def test_recommended_is_the_lowest_perplexity_within_the_limit(bound: float) -> None:
    found = recommended(RunView.of(RECORDS, objectives=OBJECTIVES), limits=_latency(bound))
    met = [it for it in COMPLETE if it.latency is not None and it.latency <= bound]
    assert found == min(met, key=lambda it: it.perplexity or 0.0)


def test_nothing_meets_a_limit_below_all() -> None:
    assert recommended(RunView.of(RECORDS, objectives=OBJECTIVES), limits=_latency(0.1)) is None
    sentence = recommendation(RunView.of(RECORDS, objectives=OBJECTIVES), limits=_latency(0.1))
    assert sentence == "No complete trial meets these limits."
    assert recommendation(RunView.of([], objectives=OBJECTIVES), limits={}) == "No trial is complete yet."


def test_one_seed_settles_nothing() -> None:
    sentence = recommendation(RunView.of(RECORDS, objectives=OBJECTIVES), limits=_latency(1.1))
    assert sentence.startswith("Lowest perplexity with forward latency at most 1.10×: dwa ")
    assert sentence.endswith("Not settled: it has 0 fresh seeds of the 5 needed.")


def test_confirmed_run_names_indistinguishable_rivals() -> None:
    records = confirmed_records()
    sentence = recommendation(RunView.of(records, objectives=PAIR), limits={})
    # `close` is as good as `best` up to noise, `plain` is not, `once` has no seeds to compare with.
    assert (
        "Not settled: of the 2 others with several fresh seeds within these limits, 1 is not distinguishable"
        in sentence
    )
    slower_out = recommendation(RunView.of(records, objectives=PAIR), limits=_latency(1.35))
    assert "Settled: of the 1 other with several fresh seeds within these limits, none has a loss as low." in slower_out
    assert slower_out.startswith("Lowest perplexity with forward latency at most 1.35×: dwa 4×1, 12 blocks")
    alone = recommendation(RunView.of(records, objectives=PAIR), limits=_latency(1.0))
    assert alone.endswith("Nothing else with several fresh seeds is within these limits.")


def test_rivals_are_close_both_ways_and_never_oneself() -> None:
    records = confirmed_records()
    close = close_rivals(RunView.of(records, objectives=PAIR))
    assert close["best"] == {"close"}
    assert close["close"] == {"best"}
    assert close["plain"] == frozenset()


def test_two_seeds_or_a_diverged_one_are_doubted() -> None:
    pair = [*seeded("a", {0: 1.0, 1: 1.1, 2: 1.2}, trial=0), *seeded("b", {0: 2.0, 1: 2.1, 2: 2.2}, trial=1)]
    verdicts = verdicts_of(pair, objectives=PAIR)
    assert uncertainty_sentence(pair[0], verdicts=verdicts) == "it has 2 fresh seeds of the 5 needed"
    diverged = [
        *confirmed_records(),
        make_record(90, architecture_id="best", seed=9, state="diverged", perplexity=None),
    ]
    found = verdicts_of(diverged, objectives=PAIR)
    best = next(it for it in diverged if it.architecture_id == "best")
    assert uncertainty_sentence(best, verdicts=found) == "it diverged with 1 seed"
    assert "not settled: diverged with 1 seed" in certainty_sentence(best, verdicts=found)


@pytest.mark.parametrize("column", ["latency", "memory_bytes", "parameters", "forward_flops"])
def test_limits_are_round_ascend_and_read_differently(column: str) -> None:
    limits = limits_of(RECORDS, column=column)
    values, texts = [it.value for it in limits], [it.text for it in limits]
    assert values == sorted(set(values))
    assert len(set(texts)) == len(texts) <= 130
    costs = [float(getattr(it, column)) for it in COMPLETE]
    # Something meets the first, everything the last.
    assert min(costs) <= values[0]
    assert max(costs) <= values[-1] * (1 + 1e-9)


def test_limits_of_equal_and_of_absent_values() -> None:
    same: list[Record] = [make_record(number, latency=1.0) for number in range(3)]
    assert [it.text for it in limits_of(same, column="latency")] == ["1.00×"]
    assert limits_of([make_record(0, latency=None)], column="latency") == []
