"""What the words claim is what the records support, and no more."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from depthweave.reports.records import Record
from depthweave.reports.summary import answer, happened, paired_difference, summarise
from tests.reports.synthetic import make_info, make_record, synthetic_trials

RECORDS = [trial.record for trial in synthetic_trials()]
INFO = make_info(reference_id="plain")


def _make(trial: int, *, loss: float, **changes: Any) -> Record:
    values = {"perplexity": math.exp(loss), "loss": loss, "last_loss": loss, **changes}
    return make_record(trial, **values)


def _pair(number: int, *, gain: float, spread: float = 0.0) -> list[Record]:
    """`number` seeds of the reference and of another architecture that is better by `gain` on the average."""
    records = []
    for seed in range(number):
        base = 1.4 + 0.1 * seed
        shift = spread * (1 if seed % 2 else -1)
        plain = {"architecture_id": "plain", "fusion": "none", "reference": True, "latency": 1.0}
        records.append(_make(2 * seed, loss=base, seed=seed, **plain))
        records.append(_make(2 * seed + 1, loss=base - gain + shift, seed=seed, architecture_id="woven"))
    return records


def test_summarise_counts() -> None:
    summary = summarise(RECORDS)
    assert summary.num_by_state == {"complete": 24, "pruned": 6, "diverged": 1, "failed": 1}
    assert summary.num_architectures == 32
    assert summary.worker_s == pytest.approx(32 * 19)
    stopped = [row.tokens for row in RECORDS if row.state == "pruned"]
    assert summary.spared_frac == pytest.approx(sum(400_000 - it for it in stopped) / (30 * 400_000))


def test_happened_says_how_much_and_how_long() -> None:
    told = happened(summarise(RECORDS), info=INFO)
    for text in ("32 trials", "48 combinations", "stdlib", "5 min 29 s", "24 ran to the end", "6 were stopped early"):
        assert text in told
    assert "diverged and 1 failed." in told


def test_nothing_complete_claims_nothing() -> None:
    assert answer([], info=INFO) == ["No trial is complete yet: nothing can be said."]
    assert answer([make_record(0, state="pruned", perplexity=None)], info=INFO) == answer([], info=INFO)
    assert "No trial has finished" in happened(summarise([]), info=INFO)


def test_answer_without_the_reference_compares_nothing() -> None:
    told = answer([make_record(0)], info=INFO)
    assert "4.000" in told[0]
    assert told[1:] == ["The reference is not complete, so there is nothing to compare with."]


def test_answer_reference_is_best() -> None:
    told = answer(_pair(1, gain=-0.1), info=INFO)
    assert told[0].startswith("No architecture has a lower perplexity than the reference")
    assert told[-1] == "One seed each: not settled."


def test_answer_one_seed_is_not_settled() -> None:
    told = answer(_pair(1, gain=0.05), info=INFO)
    assert f"{100 * (1 - math.exp(-0.05)):.1f} % lower" in told[1]
    assert "1.10× the forward latency (95 % interval 1.08 to 1.12)" in told[1]
    assert told[-1] == "One seed each: not settled."


def test_answer_few_seeds_are_not_settled() -> None:
    assert "fewer than 5 seeds: not settled" in answer(_pair(4, gain=0.05), info=INFO)[-1]


def test_answer_five_seeds_that_agree_are_told_with_their_interval() -> None:
    told = answer(_pair(5, gain=0.05, spread=0.001), info=INFO)[-1]
    assert "Over 5 shared seeds" in told
    assert "confirm with new seeds" in told
    assert "not settled" not in told


def test_answer_five_seeds_that_disagree_are_not_settled() -> None:
    assert "which includes zero: not settled" in answer(_pair(5, gain=0.01, spread=0.09), info=INFO)[-1]


def test_answer_no_shared_seed_is_not_settled() -> None:
    plain = _make(0, loss=1.5, architecture_id="plain", fusion="none", reference=True, seed=1)
    assert answer([plain, _make(1, loss=1.4)], info=INFO)[-1] == "The two share no seed: not settled."


def test_answer_other_budget_or_depth_is_said() -> None:
    plain = _make(0, loss=1.5, architecture_id="plain", fusion="none", reference=True, depth=8, budget=1)
    told = " ".join(answer([plain, _make(1, loss=1.4)], info=INFO))
    assert "differ in budget and depth too, so this is not the fusion's doing alone" in told


def test_answer_quick_one_needs_its_whole_interval_below() -> None:
    records = _pair(1, gain=0.05)
    quick = {"architecture_id": "quick", "latency": 0.99, "latency_low": 0.97}
    doubtful = _make(7, loss=1.39, latency_high=1.01, **quick)
    assert not any("no slower" in it for it in answer([*records, doubtful], info=INFO))
    sure = _make(7, loss=1.39, latency_high=0.995, **quick)
    assert any("no slower" in it and "id quick" in it for it in answer([*records, sure], info=INFO))


def test_answer_a_better_plain_architecture_is_named() -> None:
    other = _make(8, loss=1.38, architecture_id="plainer", fusion="none", depth=8)
    told = answer([*_pair(1, gain=0.05), other], info=INFO)
    assert any(it.startswith("The best plain architecture is none, 8 blocks") for it in told)


def test_paired_difference_by_hand() -> None:
    records = [
        *(_make(seed, loss=1.5, architecture_id="a", seed=seed) for seed in range(6)),
        *(_make(9 + seed, loss=1.5 + 0.01 * seed, architecture_id="b", seed=seed) for seed in range(5)),
    ]
    found = paired_difference(records, first="a", second="b")
    assert found is not None
    differences = [-0.01 * seed for seed in range(5)]
    assert found.num_seeds == 5
    assert found.mean == pytest.approx(-0.02)
    # Student's t for 4 degrees of freedom, 95 %, from any table.
    assert found.half_width == pytest.approx(2.776 * statistics.stdev(differences) / math.sqrt(5))
    assert found.settled == (abs(found.mean) > (found.half_width or 0))


def test_paired_difference_only_complete_seeds() -> None:
    records = [
        _make(0, loss=1.5, architecture_id="a"),
        make_record(1, architecture_id="b", state="pruned", perplexity=None, loss=None),
    ]
    assert paired_difference(records, first="a", second="b") is None


def test_how_sure_is_said_of_the_best_plain_architecture_and_not_of_the_reference() -> None:
    reference = [_make(0, loss=2.0, reference=True, fusion="none")]
    shallow = [
        _make(trial, loss=1.6, seed=seed, fusion="none", architecture_id="shallow")
        for trial, seed in ((1, 0), (2, 1), (3, 2))
    ]
    woven = [
        _make(10 + trial, loss=loss, seed=seed, architecture_id="woven")
        for trial, (seed, loss) in enumerate(((0, 1.50), (1, 1.51), (2, 1.49)))
    ]
    told = answer([*reference, *shallow, *woven], info=INFO)
    assert "The best plain architecture is" in told[-2]
    assert told[-1].startswith("Over 3 shared seeds the loss differs by -0.100 nat/token")


def _two(*, plain_low: float, plain_high: float, gain: float, num_seeds: int) -> list[Record]:
    fast = {"fusion": "none", "reference": True, "latency": 0.9, "latency_low": plain_low, "latency_high": plain_high}
    slow = {"latency": 1.0, "latency_low": 0.95, "latency_high": 1.05}
    return [
        record
        for seed in range(num_seeds)
        for record in (
            _make(seed, loss=1.5 + 0.01 * seed, architecture_id="plain", seed=seed, **fast),
            _make(20 + seed, loss=1.5 + 0.0101 * seed - gain, architecture_id="woven", seed=seed, **slow),
        )
    ]


def test_answer_at_equal_latency_is_said_only_where_intervals_meet() -> None:
    told = " ".join(answer(_two(plain_low=0.8, plain_high=0.96, gain=0.05, num_seeds=5), info=INFO))
    assert f"has {100 * (1 - math.exp(-0.0498)):.1f} % less perplexity (settled, 5 shared seeds)" in told
    assert "not told apart from its (1.00× and 0.90×)" in told
    apart = " ".join(answer(_two(plain_low=0.8, plain_high=0.94, gain=0.05, num_seeds=5), info=INFO))
    assert "not told apart" not in apart


def test_answer_at_equal_latency_is_not_settled_by_four_seeds() -> None:
    told = " ".join(answer(_two(plain_low=0.8, plain_high=0.96, gain=0.05, num_seeds=4), info=INFO))
    assert "(not settled, 4 shared seeds)" in told
