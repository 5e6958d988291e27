"""The front against the definition written as loops, and hypervolume against areas done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.reports.analysis.front import (
    complete,
    end_of,
    front,
    hypervolume,
    hypervolume_frac,
    may_be_on_front,
    pareto_ranks,
    points_of,
    reference_point,
)
from depthweave.reports.store.records import Record
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

PAIR = ("perplexity", "latency")

_values = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)), max_size=12)


def _records(values: list[tuple[int, int, int]]) -> list[Record]:
    return [
        make_record(number, perplexity=float(p), latency=float(v), memory_bytes=m)
        for number, (p, v, m) in enumerate(values)
    ]


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


@settings(max_examples=100, deadline=None)
@given(_values)
def test_front_equals_the_definition(values: list[tuple[int, int, int]]) -> None:
    records = _records(values)
    expected = {n for n, mine in enumerate(values) if not any(_dominates(other, mine) for other in values)}
    assert {row.trial for row in front(records, objectives=OBJECTIVES)} == expected


@settings(max_examples=50, deadline=None)
@given(_values)
def test_pareto_ranks_equal_peeling_fronts(values: list[tuple[int, int, int]]) -> None:
    left = _records(values)
    ranks = pareto_ranks(left, objectives=OBJECTIVES)
    rank = 0
    while left:
        members = {row.trial for row in front(left, objectives=OBJECTIVES)}
        assert members == {trial for trial, found in ranks.items() if found == rank}
        left = [row for row in left if row.trial not in members]
        rank += 1


@settings(max_examples=50, deadline=None)
@given(_values.filter(bool))
def test_hypervolume_never_falls_as_points_arrive(values: list[tuple[int, int, int]]) -> None:
    points = np.array(values, dtype=float)
    corner = reference_point(points)
    volumes = [hypervolume(points[:count], reference=corner) for count in range(len(points) + 1)]
    assert volumes == sorted(volumes)
    assert volumes[0] == 0


def test_front_only_complete_finite_records() -> None:
    better = {"latency": 0.1, "memory_bytes": 1}
    records = [
        make_record(0),
        make_record(1, state="pruned", perplexity=1.0, **better),
        make_record(2, state="failed", perplexity=1.0, **better),
        make_record(3, state="diverged", perplexity=1.0, **better),
        make_record(4, perplexity=math.nan, **better),
        make_record(5, perplexity=math.inf, **better),
        make_record(6, perplexity=None, **better),
        make_record(7, perplexity=1.0, latency=None),
    ]
    assert [row.trial for row in front(records, objectives=OBJECTIVES)] == [0]
    assert [row.trial for row in complete(records, objectives=["perplexity"])] == [0, 7]


def test_front_equal_records_stay_together_in_order() -> None:
    records = [make_record(2), make_record(1), make_record(0, perplexity=5.0, latency=1.0)]
    assert [row.trial for row in front(records, objectives=PAIR)] == [1, 2, 0]


def test_front_of_nothing_is_empty() -> None:
    assert front([], objectives=PAIR) == []
    assert pareto_ranks([], objectives=PAIR) == {}


def test_front_one_objective_is_its_minimum() -> None:
    records = [trial.record for trial in synthetic_trials()]
    (member,) = front(records, objectives=["perplexity"])
    assert member.perplexity == min(row.perplexity for row in records if row.perplexity is not None)


def test_hypervolume_by_hand() -> None:
    points = np.array([[1.0, 3.0], [2.0, 1.0]])
    # Boxes to (4, 4): 3x1 and 2x3, less their common 2x1.
    assert hypervolume(points, reference=np.array([4.0, 4.0])) == pytest.approx(3 + 6 - 2)
    frac = hypervolume_frac(points, ideal=np.array([1.0, 1.0]), reference=np.array([4.0, 4.0]))
    assert frac == pytest.approx(7 / 9)


def test_reference_point_a_tenth_beyond_the_worst() -> None:
    points = np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0]])
    assert reference_point(points) == pytest.approx([3.2, 5.5, 0.1])
    with pytest.raises(ValueError, match="no complete record"):
        reference_point(np.empty((0, 2)))


def test_points_of_absent_value_raises() -> None:
    with pytest.raises(TypeError):
        points_of([make_record(0, latency=None)], objectives=PAIR)


def test_may_be_on_front_adds_what_its_interval_would_lift_onto_the_front() -> None:
    names = ("perplexity", "latency")
    on_front = make_record(0, perplexity=8.0, latency=1.0, latency_low=0.98, latency_high=1.02)
    noisy = make_record(1, perplexity=8.5, latency=1.3, latency_low=0.9, latency_high=1.9)
    hopeless = make_record(2, perplexity=8.5, latency=1.3, latency_low=1.2, latency_high=1.4)
    stopped = make_record(3, state="pruned", perplexity=None, loss=None, bits_per_byte=None)
    records = [on_front, noisy, hopeless, stopped]
    assert [item.trial for item in front(records, objectives=names)] == [0]
    assert [item.trial for item in may_be_on_front(records, objectives=names)] == [0, 1]


@pytest.mark.parametrize("name", ["step_latency", "decode_latency"])
def test_may_be_on_front_looks_at_the_interval_of_every_timed_objective(name: str) -> None:
    """Only that of `latency` was kept once, and the other times were taken for exact."""
    names = ("perplexity", name)
    on_front = make_record(0, perplexity=8.0, **{name: 1.0})
    noisy = make_record(1, perplexity=8.5, **{name: 1.3, f"{name}_low": 0.9, f"{name}_high": 1.9})
    hopeless = make_record(2, perplexity=8.5, **{name: 1.3, f"{name}_low": 1.2, f"{name}_high": 1.4})
    assert [item.trial for item in may_be_on_front([on_front, noisy, hopeless], objectives=names)] == [0, 1]
    assert (end_of(noisy, name, "low"), end_of(on_front, name, "low")) == (0.9, 1.0)


def test_may_be_on_front_of_nothing_complete_is_empty() -> None:
    assert may_be_on_front([], objectives=("perplexity", "latency")) == []
