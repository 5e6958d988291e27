"""The pool that grows: a pure function of trials and seed, with graphs of the wanted connections only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from depthweave.search.parameters import SPARSE_WIRING, Parameters, is_sparse
from depthweave.search.surrogate import sparse_pool
from depthweave.search.surrogate.loss_model import Evidence
from depthweave.search.surrogate.pool import NO_ROW, PoolTrial
from depthweave.search.surrogate.sparse_pool import SparsePool, largest_first
from depthweave.spaces.costs import costs_of
from depthweave.spaces.skip_connections import Connection, num_skip_connections, skip_connections, wiring_of
from depthweave.spaces.space import Axes, enumerate_space
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.wiring_rules import edges_rule
from depthweave.spaces.wiring_text import parse_rule

OBJECTIVES = ("perplexity", "latency", "parameters")
AXES = Axes(
    fusions=("none", "dwa", "dwatt"),
    dilations=(1, 2),
    periods=(1, 2),
    depths=(6, 8),
    budgets=(300_000,),
    vocabulary=256,
    context=64,
    sparse=SparseAxes(connections=(8, 12), fusions=("dwa",)),
)


def made(**options: Any) -> tuple[Parameters, SparsePool]:
    parameters = Parameters(enumerate_space(AXES))
    return parameters, SparsePool(parameters, objectives=OBJECTIVES, measured={}, **{"seed": 0, **options})


def trials_of(parameters: Parameters, num: int) -> list[PoolTrial]:
    """The first architectures of the space; the later, the lower the loss."""
    return [
        PoolTrial(number, key, Evidence(NO_ROW, 4.0 - number / 10, finished=True, costs_C=(1.0, float(number))))
        for number, key in enumerate(parameters.architecture_ids[:num])
    ]


def sparse_of(pool: SparsePool, trials: list[PoolTrial]) -> list[Mapping[str, Any]]:
    return [item for item in pool.view(trials).candidates.parameters if SPARSE_WIRING in item]


def test_enumerated_architectures_come_first_and_then_sparse_graphs_join_them() -> None:
    parameters, pool = made()
    assert sparse_of(pool, trials_of(parameters, 7)) == []
    assert pool.view([]).candidates.parameters == tuple(map(parameters.spelling, parameters.architecture_ids))
    view = pool.view(trials_of(parameters, 8))
    assert len(view.candidates.parameters) == len(set(view.rows)) > len(parameters.architecture_ids) + 200
    for values in sparse_of(pool, trials_of(parameters, 8)):
        wiring = parse_rule(values[SPARSE_WIRING]).wiring(values["depth"])
        assert num_skip_connections(wiring) in (8, 12)
        assert values["fusion"] == "dwa"


def test_view_depends_on_trials_and_seed_only() -> None:
    parameters, pool = made()
    for num in (9, 14, 12, 10):
        pool.view(trials_of(parameters, num))
    _, fresh = made()
    known, new = pool.view(trials_of(parameters, 12)), fresh.view(trials_of(parameters, 12))
    assert known.candidates.parameters == new.candidates.parameters
    assert np.array_equal(known.candidates.features_NF, new.candidates.features_NF)
    assert np.array_equal(known.candidates.costs_NC, new.candidates.costs_NC, equal_nan=True)
    assert sparse_of(made(seed=1)[1], trials_of(parameters, 12)) != sparse_of(fresh, trials_of(parameters, 12))


def test_same_question_gives_the_same_object_so_that_sampler_and_chooser_share_a_model() -> None:
    parameters, pool = made()
    assert pool.view(trials_of(parameters, 9)) is pool.view(trials_of(parameters, 9))


def test_tried_graphs_stay_candidates_with_their_row_and_are_not_proposed_again() -> None:
    parameters, pool = made()
    trials = trials_of(parameters, 10)
    values = sparse_of(pool, trials)[0]
    key = pool.key_of(values)
    assert key is not None
    assert is_sparse(parameters.space[key])
    trials.append(PoolTrial(10, key, Evidence(NO_ROW, 2.0, finished=True, costs_C=(1.0, 2.0))))
    view = pool.view(trials)
    assert view.candidates.parameters[view.rows[key]] == values
    assert sparse_of(pool, trials).count(values) == 1


def test_costs_of_sparse_graphs_are_exact_or_left_to_the_cost_model() -> None:
    parameters, pool = made()
    view = pool.view(trials_of(parameters, 9))
    values = sparse_of(pool, trials_of(parameters, 9))[-1]
    key = pool.key_of(values)
    assert key is not None
    latency, num_parameters = view.candidates.costs_NC[view.rows[key]]
    assert np.isnan(latency)
    assert num_parameters == costs_of(parameters.space[key].architecture).parameters


def test_largest_weights_of_a_denser_model_are_proposed_for_each_count_of_its_depth() -> None:
    asked: list[int] = []

    def sizes(trial: int) -> dict[Connection, float]:
        asked.append(trial)
        if trial != 100:
            return {}
        return {(site, source): site + source / 100 for site in range(1, 9) for source in range(site)}

    parameters, pool = made(weights=sizes)
    keys = parameters.architecture_ids
    dense = next(key for key in keys if parameters.space[key].architecture.wiring.num_connections == 44)
    trials = [item._replace(number=100) if item.key == dense else item for item in trials_of(parameters, len(keys))]
    ours = [
        values[SPARSE_WIRING]
        for values in sparse_of(pool, trials)
        if values[SPARSE_WIRING] in {text_of_largest(8), text_of_largest(12)} and values["depth"] == 8
    ]
    assert set(ours) == {text_of_largest(8), text_of_largest(12)}
    assert 100 in asked


def text_of_largest(count: int) -> str:
    ordered = sorted(((8, source) for source in range(8)), reverse=True)
    ordered += sorted(((7, source) for source in range(7)), reverse=True)
    wiring = wiring_of(8, ordered[:count])
    assert wiring is not None
    return edges_rule(wiring).text


def test_largest_first_breaks_ties_by_site_and_source() -> None:
    assert largest_first({(3, 1): 1.0, (2, 0): 1.0, (3, 0): 2.0}) == [(3, 0), (2, 0), (3, 1)]


def test_children_are_near_their_parents() -> None:
    parameters, pool = made()
    trials = trials_of(parameters, 10)
    values = sparse_of(pool, trials)[-1]
    key = pool.key_of(values)
    assert key is not None
    # The best by far, with a cost as low as any: the parent of most children.
    trials.append(PoolTrial(10, key, Evidence(NO_ROW, 0.5, finished=True, costs_C=(0.1, 0.0))))
    parent = skip_connections(parameters.space[key].architecture.wiring)
    near = [
        item
        for item in sparse_of(pool, trials)
        if item["depth"] == values["depth"]
        and len(skip_connections(parse_rule(item[SPARSE_WIRING]).wiring(item["depth"])) & parent) >= len(parent) - 2
    ]
    # Random sets of 8 of 36 connections have 6 in common once in a thousand.
    before = sparse_of(pool, trials[:-1])
    assert len([item for item in near if item not in before]) >= 5


def test_sample_of_a_large_space_has_every_rare_fusion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_pool, "_MAX_ENUMERATED", 3)
    axes = dataclasses.replace(AXES, fusions=("none", "dwa", "dwatt", "hc2"), wirings=("all",))
    parameters = Parameters(enumerate_space(axes))
    pool = SparsePool(parameters, objectives=OBJECTIVES, measured={}, seed=0)
    rare = {item.architecture.id for item in parameters.space if item.architecture.fusion in ("none", "hc2")}
    assert len(rare) == 4
    for num in range(3):
        view = pool.view(trials_of(parameters, num))
        assert rare <= view.rows.keys()
        assert len(view.rows) < 20
