"""Latencies of two kinds of device are never on one front, and a sentence says what was left out."""

from __future__ import annotations

from depthweave.reports.analysis.device_kinds import comparable, kinds_sentence
from depthweave.reports.analysis.front import front, may_be_on_front
from depthweave.reports.analysis.selection import select
from tests.reports.synthetic import make_record

_TIMED = ("perplexity", "latency")
# The other machine's are ahead in all, and more.
_HERE = [
    make_record(0, hardware="here", reference=True, perplexity=5.0, latency=1.0, latency_low=1.0),
    make_record(1, hardware="here", perplexity=4.0, latency=1.2, latency_low=1.1),
]
_THERE = [
    make_record(number, hardware="there", perplexity=3.0, latency=0.5 + number / 10, latency_low=0.4)
    for number in (2, 3, 4)
]


def test_front_with_latency_is_of_the_references_kind() -> None:
    records = [*_THERE, *_HERE]
    assert [item.trial for item in front(records, objectives=_TIMED)] == [1, 0]
    assert {item.trial for item in may_be_on_front(records, objectives=_TIMED)} == {0, 1}
    assert select(records, how="fastest", objectives=_TIMED).trial == 0
    # Also where the reference itself does not meet the conditions.
    assert select(records, how="fastest", objectives=_TIMED, where="perplexity<4.5").trial == 1


def test_front_without_measured_costs_is_of_all_kinds() -> None:
    objectives = ("perplexity", "parameters")
    assert comparable([*_HERE, *_THERE], objectives=objectives) == [*_HERE, *_THERE]
    assert {item.trial for item in front([*_HERE, *_THERE], objectives=objectives)} == {2, 3, 4}
    assert kinds_sentence([*_HERE, *_THERE], objectives=objectives) == ""


def test_without_the_reference_most_decide() -> None:
    assert {item.hardware for item in comparable([*_HERE[1:], *_THERE], objectives=_TIMED)} == {"there"}


def test_sentence_says_what_was_left_out() -> None:
    assert kinds_sentence(_HERE, objectives=_TIMED) == ""
    text = kinds_sentence([*_HERE, *_THERE], objectives=_TIMED)
    assert text.startswith(" 3 complete trials ran on there")
    assert "measured on here" in text


def test_failed_trial_without_a_device_is_no_kind() -> None:
    failed = make_record(9, hardware="", state="failed", perplexity=None, latency=None)
    assert failed in comparable([*_HERE, failed], objectives=_TIMED)
