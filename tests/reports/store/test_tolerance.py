"""Twins: against the definition written as loops, and on the front that showed 14 of 19."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.reports.analysis.distinct import distinct_text, grouped, twins_of
from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.selection import select
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import check_tolerance, covered, tolerance_text, tolerances_of
from tests.reports.synthetic import make_record

NAMES = ("perplexity", "latency", "memory_bytes")
TOLERANCE = {"perplexity": 0.005, "latency": 0.02, "memory_bytes": 0.01}


def _record(trial: int, perplexity: float, latency: float, memory: int, **changes: object) -> Record:
    values = {"loss": math.log(perplexity), "latency_low": None, "latency_high": None, **changes}
    return make_record(trial, perplexity=perplexity, latency=latency, memory_bytes=memory, **values)


_values = st.lists(
    st.tuples(st.integers(995, 1012), st.integers(90, 99), st.integers(2000, 2040)), min_size=1, max_size=12
)


def _covers(a: Record, b: Record) -> bool:
    return all(getattr(a, name) <= getattr(b, name) * (1 + TOLERANCE[name]) for name in NAMES)


@settings(max_examples=150, deadline=None)
@given(_values)
def test_each_member_is_covered_by_the_one_that_stands_for_it(values: list[tuple[int, int, int]]) -> None:
    records = [_record(n, p / 250, v / 100, m) for n, (p, v, m) in enumerate(values)]
    members = front(records, objectives=NAMES)
    groups = grouped(members, objectives=NAMES, tolerances=TOLERANCE)
    shown = [item.trial for group in groups for item in (group.member, *group.twins)]
    assert sorted(shown) == sorted(item.trial for item in members)
    assert all(_covers(group.member, twin) for group in groups for twin in group.twins)
    places = [members.index(group.member) for group in groups]
    assert places == sorted(places)
    # Without tolerance there are no twins but equals.
    none = grouped(members, objectives=NAMES, tolerances=dict.fromkeys(NAMES, 0.0))
    assert len(none) == len({(item.perplexity, item.latency, item.memory_bytes) for item in members})


@settings(max_examples=100, deadline=None)
@given(_values, _values)
def test_covered_equals_the_definition(mine: list[tuple[int, int, int]], others: list[tuple[int, int, int]]) -> None:
    first, second = ([_record(n, p / 250, v / 100, m) for n, (p, v, m) in enumerate(own)] for own in (mine, others))
    points, by = (np.array([[getattr(it, name) for name in NAMES] for it in own]) for own in (first, second))
    found = covered(points, by_QO=by, tolerances_O=list(TOLERANCE.values()))
    assert found.tolist() == [any(_covers(other, own) for other in second) for own in first]
    assert not covered(points, by_QO=by[:0], tolerances_O=list(TOLERANCE.values())).any()


def test_members_that_differ_by_36_bytes_are_one_finding() -> None:
    """Two of the quick search's fourteen differed by 36 bytes of 36 MB, 0.0014 nats and 0.5 % of latency."""
    records = [
        _record(0, 7.80, 0.600, 36_440_036),
        _record(1, 7.80 * math.exp(0.0014), 0.597, 36_440_000),
        _record(2, 8.30, 0.400, 30_000_000),
    ]
    groups = grouped(front(records, objectives=NAMES), objectives=NAMES)
    assert [[group.member.trial, *(it.trial for it in group.twins)] for group in groups] == [[0, 1], [2]]
    assert distinct_text(groups) == "2 distinct of 3 members"
    assert twins_of(groups)[records[1].architecture_id] == records[0].architecture_id


def test_settled_goes_before_simple_and_simple_before_better() -> None:
    plain = {"fusion": "none", "wiring": "[]", "dilation": None, "period": None}
    records = [_record(0, 4.000, 1.00, 1000), _record(1, 4.001, 0.999, 1000), _record(2, 4.002, 0.998, 1000, **plain)]
    members = front(records, objectives=NAMES)
    assert grouped(members, objectives=NAMES)[0].member.trial == 2
    settled = {records[1].architecture_id}
    assert grouped(members, objectives=NAMES, settled=settled)[0].member.trial == 1


def test_one_rule_for_selection_and_front() -> None:
    plain = {"fusion": "none", "wiring": "[]", "dilation": None, "period": None}
    records = [_record(0, 4.000, 1.00, 1000), _record(1, 4.002, 0.998, 1000, **plain), _record(2, 6.0, 0.5, 900)]
    groups = RunView.of(records, objectives=NAMES).groups
    distinct = {group.member.trial for group in groups}
    assert distinct == {1, 2}
    for how in ("best", "knee", "fastest", "smallest"):
        assert select(records, how=how, objectives=NAMES).trial in distinct
    assert select(records, how="best", objectives=NAMES).trial == 1
    assert select(records, how="best", objectives=NAMES, tolerances=dict.fromkeys(NAMES, 0.0)).trial == 0


def test_front_without_twins_counts_members_alone() -> None:
    records = [_record(n, 4.0 + n, 2.0 - 0.1 * n, 1000) for n in range(4)]
    groups = grouped(front(records, objectives=NAMES), objectives=NAMES)
    assert distinct_text(groups) == "4 members"
    assert grouped([], objectives=NAMES) == []


def test_defaults_and_given_tolerances() -> None:
    assert tolerances_of(NAMES, {"latency": 0.1}) == {**TOLERANCE, "latency": 0.1}
    assert tolerance_text(NAMES) == "perplexity 0.5 %, latency 2 %, memory bytes 1 %"
    for value in (-0.1, 1.0, math.nan, 10**400):
        with pytest.raises(ValueError, match="give a share from 0 to below 1"):
            check_tolerance("latency", value)
    with pytest.raises(ValueError, match="did you mean 'latency'"):
        check_tolerance("latncy", 0.1)


def test_cover_is_no_wider_than_the_tolerance() -> None:
    for better, worse in itertools.permutations((0.981, 1.0)):
        point, other = np.array([[1.0, better]]), np.array([[1.0, worse]])
        assert covered(point, by_QO=other, tolerances_O=[0.0, 0.02]).tolist() == [worse <= better * 1.02]
