"""The key `space.sparse` of a spec: read, written, and refused where it spans nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depthweave.search.spec.loading import SpecError, make_spec, parse_spec
from depthweave.search.spec.schema import differences
from depthweave.spaces.sparse_axes import SparseAxes
from tests.search.commandline import Cli

SPARSE = {"connections": [12, 24]}


def test_sparse_graphs_are_read_and_written_back() -> None:
    spec = make_spec({"space": {"sparse": {**SPARSE, "fusions": ["dwa"]}}})
    assert spec.space.sparse == SparseAxes(connections=(12, 24), fusions=("dwa",))
    assert parse_spec(spec.to_yaml()) == spec
    assert make_spec({}, overrides=["space.sparse.connections=[12]"]).space.sparse == SparseAxes(connections=(12,))


def test_a_spec_without_sparse_graphs_is_written_as_earlier_versions_read_it() -> None:
    assert "sparse" not in make_spec({}).to_yaml()


def test_a_resumed_search_may_not_change_its_sparse_graphs() -> None:
    ours, theirs = make_spec({"space": {"sparse": SPARSE}}), make_spec({"space": {"sparse": {"connections": [12]}}})
    assert any(line.startswith("space.sparse.connections is [12, 24]") for line in differences(ours, theirs))
    assert differences(ours, make_spec({}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"space": {"sparse": {"conections": [12]}}}, "did you mean 'space.sparse.connections'"),
        ({"space": {"sparse": 12}}, "sparse is 12: give a section with keys, or leave it out"),
        ({"space": {"sparse": {}}}, "space.sparse.connections"),
        ({"space": {"sparse": {"connections": ["many"]}}}, "space.sparse.connections"),
        ({"space": {"sparse": {"connections": [100]}}}, "12 blocks have at most 78 connections"),
        ({"space": {"sparse": SPARSE}, "search": {"sampler": "tpe"}}, "space.sparse needs known-cost"),
        ({"space": {"sparse": SPARSE, "fusions": ["none"]}}, "needs a fusion with several wirings"),
        ({"space": {"sparse": SPARSE, "fusions": ["none", "hc2"]}}, "needs a fusion with several wirings"),
        (
            {"space": {"sparse": {**SPARSE, "fusions": ["hc2"]}, "fusions": ["dwa", "hc2"]}},
            "sparse.fusions has hc2, which has one wiring a depth: leave it out",
        ),
    ],
)
def test_sparse_keys_at_fault_are_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        make_spec(values)
    assert "\n" not in str(caught.value)


def test_space_says_that_sparse_wirings_are_proposed_during_the_search(spec_file: Path, run: Cli) -> None:
    code, out, err = run("space", spec_file, "--set", "space.sparse={connections: [8, 12], fusions: [dwa]}")
    assert code == 0, err
    said = " ".join(out.split())
    assert "infeasible, and sparse wirings of dwa of 8 or 12 connections, proposed during the search" in said


def test_counts_that_no_depth_has_are_refused_by_the_command(spec_file: Path, fault: Callable[..., str]) -> None:
    message = fault("space", spec_file, "--set", "space.sparse={connections: [22]}")
    assert "space.sparse.connections has 22: 6 blocks have at most 21 connections, and 0 graphs of 22" in message
