"""Searches with sparse graphs, on a made-up loss that rewards one hidden set of connections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from depthweave.search.parameters import SPARSE_WIRING, Parameters
from depthweave.search.samplers import make_sampler
from depthweave.search.samplers.distinct import FIXED_PARAMS
from depthweave.spaces.costs import num_parameters
from depthweave.spaces.space import Axes, SearchSpace, enumerate_space
from depthweave.spaces.sparse import SparseAxes
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_moves import skip_connections, wiring_of

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
    """A search of trials that end at once. Another one with the same trials is the resumed search."""

    def __init__(self, space: SearchSpace, *, seed: int, trials: Sequence[FrozenTrial] = (), **options: Any) -> None:
        self.parameters = Parameters(space)
        self.sampler = make_sampler(
            "known-cost", parameters=self.parameters, objectives=OBJECTIVES, seed=seed, **options
        ).sampler
        self.study = optuna.create_study(directions=["minimize"] * 2, sampler=self.sampler)
        self.study.add_trials(list(trials))

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
            item = self.parameters.space[self._id(values)]
            self.study.tell(trial, [loss_of(item.architecture.wiring), num_parameters(item.architecture)])
            asked.append(values)
        return asked

    def best(self) -> Wiring:
        found = [self.parameters.space[self._id(item.system_attrs[FIXED_PARAMS])] for item in self.study.trials]
        return min((item.architecture.wiring for item in found), key=loss_of)

    def _id(self, values: dict[str, Any]) -> str:
        found = self.parameters.architecture_id(values)
        assert found is not None
        return found


def test_hidden_connections_are_in_no_combination_and_can_be_built() -> None:
    hidden = wiring_of(12, HIDDEN)
    assert hidden is not None
    assert loss_of(hidden) == pytest.approx(2.0)
    assert hidden not in [item.architecture.wiring.without_lone_sites() for item in GRID]


def test_search_with_sparse_graphs_beats_the_whole_grid_for_every_seed() -> None:
    best_of_grid = min(loss_of(item.architecture.wiring) for item in GRID)
    for seed in range(10):
        search = Search(space_of(sparse=SPARSE), seed=seed)
        search.run(40)
        print(
            seed,
            loss_of(search.best()),
            best_of_grid,
            sum(SPARSE_WIRING in t.system_attrs[FIXED_PARAMS] for t in search.study.trials),
        )
        assert loss_of(search.best()) < best_of_grid
