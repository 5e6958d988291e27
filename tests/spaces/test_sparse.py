"""Sparse graphs of a space: which there are, as text, resolved to a budget."""

from __future__ import annotations

import random
from typing import Any

import pytest

from depthweave.spaces.costs import num_parameters
from depthweave.spaces.skip_connections import wiring_of
from depthweave.spaces.space import Axes, Candidate, enumerate_space
from depthweave.spaces.sparse_axes import SparseAxes, num_graphs
from depthweave.spaces.sparse_graphs import SparseGraphs, sparse_text
from depthweave.spaces.widths import TOLERANCE_FRAC
from depthweave.spaces.wiring import strided_wiring
from depthweave.spaces.wiring_moves import random_wiring
from depthweave.spaces.wiring_rules import edges_rule
from depthweave.spaces.wiring_text import parse_rule


def _axes(sparse: SparseAxes | None, **given: Any) -> Axes:
    values: dict[str, Any] = {
        "fusions": ("none", "dwa", "concat"),
        "depths": (6, 12),
        "budgets": (300_000, 1_000_000),
        "vocabulary": 256,
        "context": 64,
        "sparse": sparse,
        **given,
    }
    return Axes(**values)


def test_number_of_graphs_is_the_binomial_coefficient_of_all_skip_connections() -> None:
    assert num_graphs(3, 2) == 15
    assert num_graphs(12, 24) == 79_065_487_387_985_398_300
    assert num_graphs(3, 7) == 0
    assert num_graphs(3, 0) == 0


def test_text_names_source_before_site_and_is_read_back() -> None:
    wiring = wiring_of(7, [(7, 2), (3, 0), (7, 0)])
    assert wiring is not None
    assert edges_rule(wiring).text == "edges:0-3+0-7+2-7"
    assert parse_rule("edges:0-3+0-7+2-7").wiring(7) == wiring
    rng = random.Random(0)
    for count in (1, 12, 24, 78):
        made = random_wiring(12, connections=count, rng=rng)
        assert parse_rule(edges_rule(made).text).wiring(12) == made


@pytest.mark.parametrize("text", ["edges:0-8", "edges:", "0-3", "edges:0-3+", "edges:0-3;2-7", "edges:1-1"])
def test_text_that_is_no_wiring_of_the_depth_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^wiring"):
        parse_rule(text).wiring(7)


def test_targets_leave_out_depths_with_few_graphs() -> None:
    graphs = SparseGraphs(_axes(SparseAxes(connections=(12, 24), fusions=("dwa",))))
    # 6 blocks have 21 connections.
    assert [(item.depth, item.budget, item.connections) for item in graphs.targets] == [
        (6, 300_000, 12),
        (6, 1_000_000, 12),
        (12, 300_000, 12),
        (12, 300_000, 24),
        (12, 1_000_000, 12),
        (12, 1_000_000, 24),
    ]


def test_resolved_graphs_meet_the_budget_or_are_none_and_their_budget_is_found_again() -> None:
    graphs, rng = SparseGraphs(_axes(SparseAxes(connections=(12, 24)))), random.Random(0)
    wiring = random_wiring(12, connections=24, rng=rng)
    found = graphs.resolved(wiring, fusion="dwa", budget=1_000_000)
    assert found is not None
    assert abs(num_parameters(found) / 1_000_000 - 1) <= TOLERANCE_FRAC
    assert graphs.budget_of(found) == 1_000_000
    assert graphs.resolved(wiring, fusion="dwa", budget=30_000) is None
    # Another number of connections is not one of the space.
    other = graphs.resolved(strided_wiring(12), fusion="dwa", budget=1_000_000)
    assert other is not None
    assert graphs.budget_of(other) is None


def test_sentence_names_the_counts_and_says_where_no_budget_is_met() -> None:
    assert sparse_text(_axes(None)) == ""
    text = ", and sparse wirings of 12 or 24 connections, proposed during the search"
    assert sparse_text(_axes(SparseAxes(connections=(24, 12)))) == text
    hopeless = _axes(SparseAxes(connections=(24,), fusions=("concat",)), budgets=(30_000,))
    assert "no sparse wirings: none of a few tried ones meets a budget" in sparse_text(hopeless)


@pytest.mark.parametrize(
    ("sparse", "message"),
    [
        ({"connections": ()}, "connections is empty"),
        ({"connections": (12, 12)}, "list each once"),
        ({"connections": (12,), "fusions": ("none",)}, "fusions has none"),
        ({"connections": (12,), "fusions": ("dwax",)}, "did you mean 'dwa'"),
        ({"connections": (12,), "fusions": ("dwatt",)}, "fusions has dwatt: it must be one of space.fusions"),
        ({"connections": (79,)}, "connections has 79: 12 blocks have at most 78 connections, and 0 graphs"),
        ({"connections": (1,)}, "and 78 graphs of 1; at least 10,000 are sampled"),
        ({"connections": (-3, 12)}, "connections has -3: give numbers of at least 1"),
    ],
)
def test_sparse_axes_that_span_nothing_are_refused(sparse: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _axes(SparseAxes(**sparse))


def test_an_included_architecture_is_known_by_its_id_and_not_counted() -> None:
    space = enumerate_space(_axes(SparseAxes(connections=(12,)), fusions=("dwa",)))
    graphs = SparseGraphs(space.axes)
    made = graphs.resolved(random_wiring(12, connections=12, rng=random.Random(1)), fusion="dwa", budget=300_000)
    assert made is not None
    before = len(space)
    space.include(Candidate(architecture=made, rule=None, budget=300_000))
    assert space[made.id].architecture == made
    assert made.id in space.known_ids
    assert (len(space), made.id in [item.architecture.id for item in space]) == (before, False)
