"""Searches with sparse graphs, on a made-up loss that rewards one hidden set of connections."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest

from depthweave.search.parameters import SPARSE_WIRING, Parameters
from depthweave.search.pruners.chooser import TrialSnapshot
from depthweave.search.samplers import make_sampler
from depthweave.search.samplers.distinct import FIXED_PARAMS
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import num_parameters
from depthweave.spaces.skip_connections import skip_connections, wiring_of
from depthweave.spaces.space import Axes, SearchSpace, enumerate_space
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.wiring import Wiring

HIDDEN = {(site, source) for site in (4, 7, 9, 12) for source in (0, 1, 2)}
"""Twelve connections that no dilation and period give."""
OBJECTIVES = ("perplexity", "parameters")


def space_of(*, sparse: SparseAxes | None) -> SearchSpace:
    return enumerate_space(
        Axes(
            fusions=("none", "dwa"),
            dilations=(1, 2, 3, 4),
            periods=(1, 2, 3, 4, "depth"),
            depths=(12,),
            budgets=(300_000,),
            vocabulary=256,
            context=64,
            sparse=sparse,
        )
    )


SPARSE = SparseAxes(connections=(12, 24))
GRID = space_of(sparse=None)


def loss_of(wiring: Wiring) -> float:
    """3 without any hidden connection, 2 for the hidden set itself; connections beside it count against a wiring."""
    held = skip_connections(wiring)
    return 3.0 - len(held & HIDDEN) / math.sqrt(max(1, len(held)) * len(HIDDEN))


class Search:
    """A search whose trials end at once."""

    def __init__(self, space: SearchSpace, *, seed: int) -> None:
        self.parameters = Parameters(space)
        made = make_sampler("known-cost", parameters=self.parameters, objectives=OBJECTIVES, seed=seed)
        self.guide = made.guide
        self.study = optuna.create_study(directions=["minimize"] * 2, sampler=made.sampler)

    def run(self, num: int) -> list[dict[str, Any]]:
        """Returns the parameters of the next trials."""
        asked = []
        for _ in range(num):
            trial = self.study.ask()
            values = trial.relative_params
            self.study._storage.set_trial_system_attr(trial._trial_id, FIXED_PARAMS, values)
            for name, distribution in self.parameters.distributions.items():
                if name in values:
                    trial.suggest_categorical(name, distribution.choices)
            built = self.architecture(values)
            self.study.tell(trial, [loss_of(built.wiring), num_parameters(built)])
            asked.append(values)
        return asked

    def best(self) -> Wiring:
        found = [self.architecture(item.system_attrs[FIXED_PARAMS]).wiring for item in self.study.trials]
        return min(found, key=loss_of)

    def architecture(self, values: dict[str, Any]) -> Architecture:
        architecture_id = self.parameters.architecture_id(values)
        assert architecture_id is not None
        return self.parameters.space[architecture_id].architecture


def test_hidden_connections_are_in_no_combination_and_can_be_built() -> None:
    hidden = wiring_of(12, HIDDEN)
    assert hidden is not None
    assert loss_of(hidden) == pytest.approx(2.0)
    assert hidden not in [item.architecture.wiring.without_lone_sites() for item in GRID]


def _beats_the_grid(seed: int, *, trials: int) -> bool:
    search = Search(space_of(sparse=SPARSE), seed=seed)
    search.run(trials)
    return loss_of(search.best()) < min(loss_of(item.architecture.wiring) for item in GRID)


def test_search_with_sparse_graphs_finds_better_than_the_whole_grid() -> None:
    assert _beats_the_grid(7, trials=30)


@pytest.mark.slow
def test_search_with_sparse_graphs_beats_the_whole_grid_for_every_seed() -> None:
    assert [_beats_the_grid(seed, trials=40) for seed in range(10)] == [True] * 10


def test_chooser_expects_of_a_new_trial_what_the_sampler_proposes_next() -> None:
    search = Search(space_of(sparse=SPARSE), seed=1)
    search.run(14)
    snapshots = [
        TrialSnapshot(
            number=trial.number,
            architecture_id=search.architecture(trial.system_attrs[FIXED_PARAMS]).id,
            costs={"parameters": trial.values[1]},
            losses=(trial.values[0],),
            state="complete",
        )
        for trial in search.study.trials
    ]
    assert search.guide is not None
    view = search.guide.advise(snapshots)
    assert view is not None
    assert view.new is not None
    (proposed,) = search.run(1)
    assert SPARSE_WIRING in proposed
    assert view.new.costs == {"parameters": num_parameters(search.architecture(proposed))}
