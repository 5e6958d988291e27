"""What a run knows of sparse graphs: those of its records, and the sizes of trained connections."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.sparse_records import connection_sizes, include_recorded
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.recording import Outcome
from depthweave.spaces.decoder import ConnectionWeight
from depthweave.spaces.skip_connections import wiring_of
from depthweave.spaces.space import Axes, Candidate, SearchSpace, enumerate_space
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.wiring_moves import random_wiring
from depthweave.spaces.wiring_rules import edges_rule
from depthweave.trainers.states import StateProfile
from tests.search.ledger_runs import MAKER, RECIPE, Run, make_evaluation, make_report

LAST = RECIPE.num_evaluations - 1


def _space() -> SearchSpace:
    return enumerate_space(
        Axes(
            fusions=("dwa",),
            depths=(6,),
            budgets=(40_000,),
            vocabulary=256,
            context=16,
            head_width=8,
            sparse=SparseAxes(connections=(8,)),
        )
    )


def _candidate() -> Candidate:
    parameters = Parameters(_space())
    assert parameters.sparse is not None
    wiring = random_wiring(6, connections=8, rng=random.Random(4))
    made = parameters.sparse.resolved(wiring, fusion="dwa", budget=40_000)
    assert made is not None
    return Candidate(architecture=made, rule=edges_rule(made.wiring), budget=40_000)


def _store_with(folder: Path, candidate: Candidate, *, weights: dict[tuple[int, int], float]) -> RunStore:
    """A run with one complete trial, whose states have norms 1, 2, 3, ..."""
    store = Run(folder).store
    live = LiveTrial(number=7, candidate=candidate, started_at=datetime.now(UTC))
    depth = candidate.architecture.depth
    for index, factor in ((0, 9.0), (LAST, 1.0)):
        values = tuple(ConnectionWeight(*pair, factor * value) for pair, value in weights.items())
        evaluation = dataclasses.replace(
            make_evaluation(index, loss=2.0, weights=values),
            states=StateProfile(tuple(float(state + 1) for state in range(depth + 1)), (1.0,) * depth),
        )
        live.add_report(make_report(evaluation))
    rows = MAKER.rows(live, outcome=Outcome("complete", None))
    store.append(rows.record, evaluations=rows.evaluations, weights=rows.weights)
    return store


def test_recorded_sparse_graphs_are_known_to_a_new_space(tmp_path: Path) -> None:
    candidate, space = _candidate(), _space()
    store = _store_with(tmp_path, candidate, weights={})
    assert candidate.architecture.id not in space.known_ids
    include_recorded(space, store)
    assert space[candidate.architecture.id] == candidate


def test_a_space_without_sparse_graphs_stays_as_it_is(tmp_path: Path) -> None:
    space = enumerate_space(dataclasses.replace(_space().axes, sparse=None))
    include_recorded(space, _store_with(tmp_path, _candidate(), weights={}))
    assert len(space.known_ids) == len(space)


def test_size_of_a_connection_is_the_last_weight_s_magnitude_times_the_norm_of_the_state(tmp_path: Path) -> None:
    wiring = wiring_of(6, [(3, 0), (3, 2), (6, 1)])
    assert wiring is not None
    parameters = Parameters(_space())
    assert parameters.sparse is not None
    made = parameters.sparse.resolved(wiring, fusion="dwa", budget=40_000)
    assert made is not None
    candidate = Candidate(architecture=made, rule=None, budget=40_000)
    weights = {(3, 0): -0.5, (3, 2): 0.25, (3, 3): 1.0, (6, 1): 0.1, (6, 6): 1.0}
    store = _store_with(tmp_path, candidate, weights=weights)
    assert connection_sizes(store, trial=7) == pytest.approx({(3, 0): 0.5, (3, 2): 0.75, (6, 1): 0.2})
    assert connection_sizes(store, trial=8) == {}
