"""Sparse graphs in a study: suggested, kept, resumed and restored, though Optuna's parameters cannot hold them."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import TrialState

from depthweave.search.parameters import SPARSE_WIRING, Parameters, is_sparse
from depthweave.search.pruners import make_pruner
from depthweave.search.samplers import make_sampler
from depthweave.search.study.journal_recovery import started_architectures
from depthweave.search.study.studies import Studies
from depthweave.spaces.skip_connections import num_skip_connections
from depthweave.spaces.space import Axes, enumerate_space
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.wiring_text import parse_rule

OBJECTIVES = ("perplexity", "parameters")
AXES = Axes(
    fusions=("none", "dwa"),
    dilations=(1, 2, 3),
    periods=(1, 2, 3),
    depths=(6,),
    budgets=(40_000,),
    vocabulary=256,
    context=32,
    head_width=8,
    sparse=SparseAxes(connections=(8,)),
)
FIRST = 8
"""Trials before the first sparse graph."""


class Driver:
    """The studies of a folder, with a space of their own as every process has."""

    def __init__(self, folder: Path) -> None:
        self.parameters = Parameters(enumerate_space(AXES))
        made = make_sampler("known-cost", parameters=self.parameters, objectives=OBJECTIVES, seed=3)
        self.studies = Studies(
            folder / "study.journal",
            objectives=OBJECTIVES,
            sampler=made.sampler,
            use_curves=made.use_curves,
            pruner=make_pruner("none", options={}),
            parameters=self.parameters,
        )

    def ask(self) -> tuple[int, str]:
        asked = self.studies.ask()
        assert asked is not None
        return asked.number, asked.architecture_id

    def complete(self, num: int) -> list[str]:
        """Runs trials to their end, with a loss of the architecture's own, and returns their architectures."""
        found = []
        for _ in range(num):
            number, architecture_id = self.ask()
            loss = 2.0 + int(architecture_id[:4], 16) / 2**16
            self.studies.set_costs(number, {"parameters": 40_000.0})
            self.studies.report(number, evaluation=1, loss=loss)
            self.studies.complete(number, values=[loss, 40_000.0], loss=loss)
            found.append(architecture_id)
        return found


def test_sparse_graphs_are_asked_for_and_their_connections_are_in_the_journal(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    ids = driver.complete(FIRST + 3)
    assert len(set(ids)) == FIRST + 3
    trial = driver.studies.trials[-1]
    item = driver.parameters.space[ids[-1]]
    assert is_sparse(item)
    assert trial.params == {"fusion": "dwa", "depth": 6, "budget": 40_000}
    wiring = parse_rule(trial.user_attrs[SPARSE_WIRING]).wiring(6)
    assert wiring == item.architecture.wiring
    assert num_skip_connections(wiring) == 8


def test_a_resumed_search_makes_the_proposals_of_the_uninterrupted_one(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = Driver(tmp_path / "whole").complete(FIRST + 6)
    parts = [*Driver(tmp_path / "parts").complete(FIRST + 2), *Driver(tmp_path / "parts").complete(4)]
    assert parts == whole


def test_an_interrupted_sparse_trial_waits_with_its_graph_and_is_resumed(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.complete(FIRST)
    number, architecture_id = driver.ask()
    assert is_sparse(driver.parameters.space[architecture_id])
    driver.studies.release()
    again = Driver(tmp_path)
    assert [(item.number, item.architecture_id) for item in again.studies.interrupted()] == [(number, architecture_id)]
    assert started_architectures(tmp_path / "study.journal", parameters=again.parameters)[number] == architecture_id
    again.studies.resume(number)
    assert again.studies.trials[number].state == TrialState.RUNNING
    assert again.parameters.space[architecture_id].architecture.id == architecture_id


def test_a_restored_sparse_trial_has_its_graph_for_every_later_driver(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = Driver(tmp_path / "old")
    ids = old.complete(FIRST + 1)
    driver = Driver(tmp_path / "new")
    architecture = old.parameters.space[ids[-1]].architecture
    assert driver.parameters.adopted(architecture) == ids[-1]
    driver.studies.restore(0, ids[-1])
    later = Driver(tmp_path / "new")
    assert later.studies.architecture_id(later.studies.trials[0]) == ids[-1]


def test_a_space_with_sparse_graphs_is_never_exhausted(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.complete(FIRST + 4)
    assert len(driver.parameters.architecture_ids) < FIRST + 4
    assert not driver.studies.exhausted


def test_values_that_name_no_sparse_graph_of_the_space_give_no_architecture() -> None:
    parameters = Parameters(enumerate_space(AXES))
    good = {"fusion": "dwa", "depth": 6, "budget": 40_000, SPARSE_WIRING: "edges:0-3+2-6"}
    assert parameters.architecture_id(good) is not None
    for wrong in ({"fusion": "concat"}, {"depth": 4}, {"budget": 1}, {SPARSE_WIRING: "edges:0-7"}, {SPARSE_WIRING: 3}):
        assert parameters.architecture_id({**good, **wrong}) is None
