"""What the words claim is what the records support, and no more."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from depthweave.reports.analysis.summary import (
    answer_sentence,
    fresh_difference,
    outcome_sentence,
    summarise,
    unfinished_sentence,
)
from depthweave.reports.store.records import Record
from tests.reports.confirmed import seeded
from tests.reports.synthetic import make_info, make_record, synthetic_trials

RECORDS = [trial.record for trial in synthetic_trials()]
INFO = make_info(reference_id="plain")


def _make(trial: int, *, loss: float, **changes: Any) -> Record:
    values = {"perplexity": math.exp(loss), "loss": loss, "last_loss": loss, **changes}
    return make_record(trial, **values)


def _pair(fresh: int, *, gain: float, spread: float = 0.0) -> list[Record]:
    """The search's seed and `fresh` ones, of the reference and of an architecture that is better by `gain`."""
    bases = {seed: 1.4 + 0.1 * seed for seed in range(fresh + 1)}
    shifts = {seed: spread * (1 if seed % 2 else -1) for seed in bases}
    plain = {"fusion": "none", "reference": True, "latency": 1.0}
    return [
        *seeded("plain", bases, trial=0, **plain),
        *seeded("woven", {seed: base - gain + shifts[seed] for seed, base in bases.items()}, trial=1),
    ]


def test_summarise_counts() -> None:
    summary = summarise(RECORDS)
    assert summary.num_by_state == {"complete": 24, "pruned": 6, "diverged": 1, "failed": 1}
    assert summary.num_architectures == 32
    assert summary.worker_s == pytest.approx(32 * 19)
    stopped = [row.tokens for row in RECORDS if row.state == "pruned"]
    assert summary.spared_frac == pytest.approx(sum(400_000 - it for it in stopped) / (30 * 400_000))


def test_outcome_says_how_much_and_how_long() -> None:
    sentences = outcome_sentence(summarise(RECORDS), info=INFO)
    for text in ("32 trials", "48 combinations", "stdlib", "5 min 29 s", "24 ran to the end", "6 were stopped early"):
        assert text in sentences
    assert "diverged and 1 failed." in sentences


def test_trials_that_have_not_ended_are_named() -> None:
    recorded = range(len(RECORDS))
    # The third number is of a confirmation.
    one = unfinished_sentence(RECORDS, begun=[*recorded, 1001, 1_000_000])
    assert one == " 1 more has begun and not ended: it is paused, interrupted or running, and not counted here."
    assert " 2 more have begun" in unfinished_sentence(RECORDS, begun=[1001, 1002])
    assert unfinished_sentence(RECORDS, begun=recorded) == ""


def test_nothing_complete_claims_nothing() -> None:
    assert answer_sentence([], info=INFO) == ["No trial is complete yet: there is no answer yet."]
    assert answer_sentence([make_record(0, state="pruned", perplexity=None)], info=INFO) == answer_sentence(
        [], info=INFO
    )
    assert "No trial has finished" in outcome_sentence(summarise([]), info=INFO)


def test_answer_without_the_reference_compares_nothing() -> None:
    sentences = answer_sentence([make_record(0)], info=INFO)
    assert "4.000" in sentences[0]
    assert sentences[1:] == ["The reference is not complete, so there is nothing to compare with."]


def test_answer_reference_is_best() -> None:
    sentences = answer_sentence(_pair(0, gain=-0.1), info=INFO)
    assert sentences[0].startswith("No architecture has a lower perplexity than the reference")
    assert sentences[-1] == "One seed each: not settled."


def test_answer_one_seed_is_not_settled() -> None:
    sentences = answer_sentence(_pair(0, gain=0.05), info=INFO)
    assert f"{100 * (1 - math.exp(-0.05)):.1f} % lower" in sentences[1]
    assert "1.10× the forward latency (95 % interval 1.08 to 1.12)" in sentences[1]
    assert sentences[-1] == "One seed, by which the best was chosen: not settled. Confirm with fresh seeds."


def test_answer_few_seeds_are_not_settled() -> None:
    assert "fewer than 5 fresh seeds: not settled" in answer_sentence(_pair(4, gain=0.05), info=INFO)[-1]
    assert "fewer than two fresh seeds each" in answer_sentence(_pair(1, gain=0.05), info=INFO)[-1]


def test_answer_of_five_seeds_that_agree_has_their_interval() -> None:
    last = answer_sentence(_pair(5, gain=0.05, spread=0.001), info=INFO)[-1]
    assert last.startswith("Over 5 fresh seeds the loss differs by -0.050 nat/token (95 % interval -0.051 to -0.04")
    assert last.endswith(": settled. The seed by which the search chose it does not count.")


def test_answer_five_seeds_that_disagree_are_not_settled() -> None:
    assert "which includes zero: not settled" in answer_sentence(_pair(5, gain=0.03, spread=0.09), info=INFO)[-1]


def test_answer_of_a_best_that_diverged_with_a_seed_is_not_settled() -> None:
    diverged = make_record(99, architecture_id="woven", state="diverged", seed=6, perplexity=None, loss=None)
    sentences = answer_sentence([*_pair(5, gain=0.05, spread=0.001), diverged], info=INFO)[-1]
    assert sentences.endswith("; 1 seed diverged: not settled.")


def test_answer_other_budget_or_depth_is_said() -> None:
    plain = _make(0, loss=1.5, architecture_id="plain", fusion="none", reference=True, depth=8, budget=1)
    sentences = " ".join(answer_sentence([plain, _make(1, loss=1.4)], info=INFO))
    assert "differ in budget and depth too, so the fusion is not the only cause" in sentences


def test_answer_quick_one_needs_its_whole_interval_below() -> None:
    records = _pair(0, gain=0.05)
    quick = {"architecture_id": "quick", "latency": 0.99, "latency_low": 0.97}
    doubtful = _make(7, loss=1.39, latency_high=1.01, **quick)
    assert not any("no slower" in it for it in answer_sentence([*records, doubtful], info=INFO))
    sure = _make(7, loss=1.39, latency_high=0.995, **quick)
    assert any("no slower" in it and "id quick" in it for it in answer_sentence([*records, sure], info=INFO))


def test_answer_a_better_plain_architecture_is_named() -> None:
    other = _make(8, loss=1.38, architecture_id="plainer", fusion="none", depth=8)
    sentences = answer_sentence([*_pair(0, gain=0.05), other], info=INFO)
    assert any(it.startswith("The best plain architecture is none, 8 blocks") for it in sentences)


def test_fresh_difference_by_hand_leaves_the_seed_of_the_search_out() -> None:
    records = [
        *seeded("a", dict.fromkeys(range(6), 1.5), trial=0),
        *seeded("b", {0: 9.0, **{seed: 1.5 + 0.01 * seed for seed in range(1, 6)}}, trial=1),
    ]
    found = fresh_difference(records, first="a", second="b")
    assert found is not None
    differences = [-0.01 * seed for seed in range(1, 6)]
    assert found.interval.num == 5
    assert found.interval.mean == pytest.approx(-0.03)
    # Student's t for 4 degrees of freedom, 95 %, from any table.
    half_width = 2.7764 * statistics.stdev(differences) / math.sqrt(5)
    assert found.interval.half_width == pytest.approx(half_width, rel=1e-4)
    assert found.settled


def test_fresh_difference_without_fresh_seeds_is_none() -> None:
    several = [_make(seed, loss=1.5, architecture_id=key, seed=seed) for key in "ab" for seed in range(5)]
    assert fresh_difference(several, first="a", second="b") is None


def test_how_sure_is_said_of_the_best_plain_architecture_and_not_of_the_reference() -> None:
    reference = [_make(9, loss=2.0, reference=True, fusion="none")]
    shallow = seeded("shallow", dict.fromkeys(range(4), 1.6), trial=1, fusion="none")
    woven = seeded("woven", {0: 1.2, 1: 1.50, 2: 1.51, 3: 1.49}, trial=2)
    sentences = answer_sentence([*reference, *shallow, *woven], info=INFO)
    assert "The best plain architecture is" in sentences[-2]
    assert sentences[-1].startswith("Over 3 fresh seeds the loss differs by -0.100 nat/token")


def _two(*, plain_low: float, plain_high: float, gain: float, fresh: int) -> list[Record]:
    fast = {"fusion": "none", "reference": True, "latency": 0.9, "latency_low": plain_low, "latency_high": plain_high}
    slow = {"latency": 1.0, "latency_low": 0.95, "latency_high": 1.05}
    seeds = range(fresh + 1)
    return [
        *seeded("plain", {seed: 1.5 + 0.01 * seed for seed in seeds}, trial=0, **fast),
        *seeded("woven", {seed: 1.5 + 0.0101 * seed - gain for seed in seeds}, trial=1, **slow),
    ]


def test_answer_at_equal_latency_is_said_only_where_intervals_meet() -> None:
    sentences = " ".join(answer_sentence(_two(plain_low=0.8, plain_high=0.96, gain=0.05, fresh=5), info=INFO))
    assert f"has {100 * (1 - math.exp(-0.0497)):.1f} % less perplexity (settled, 5 fresh seeds)" in sentences
    assert "not distinguishable from its (1.00× and 0.90×)" in sentences
    apart = " ".join(answer_sentence(_two(plain_low=0.8, plain_high=0.94, gain=0.05, fresh=5), info=INFO))
    assert "not distinguishable" not in apart


def test_answer_of_a_fusion_that_is_far_faster_says_lower_and_not_level() -> None:
    """It once said of 0.40 and 0.75 that the two were not distinguishable."""
    plain = {"fusion": "none", "reference": True, "latency": 0.75, "latency_low": 0.73, "latency_high": 0.77}
    quick = {"latency": 0.40, "latency_low": 0.39, "latency_high": 0.41}
    sentences = " ".join(answer_sentence([_make(0, loss=1.5, **plain), _make(1, loss=1.4, **quick)], info=INFO))
    assert "at a lower latency than its (0.40× and 0.75×)" in sentences
    assert "not distinguishable" not in sentences


def test_answer_at_equal_latency_is_not_settled_by_four_seeds() -> None:
    sentences = " ".join(answer_sentence(_two(plain_low=0.8, plain_high=0.96, gain=0.05, fresh=4), info=INFO))
    assert "(not settled, 4 fresh seeds)" in sentences
