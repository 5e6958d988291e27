"""The sparse graphs of a space, resolved to its budgets."""

from __future__ import annotations

import random
from functools import cached_property
from typing import NamedTuple

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.budget import BudgetError, resolve
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.skip_connections import skip_connections
from depthweave.spaces.space import Axes
from depthweave.spaces.sparse_axes import MIN_GRAPHS, num_graphs
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_moves import random_wiring

_DRAWS = 4
"""Random graphs of a target that show whether its budget can be met."""


class SparseTarget(NamedTuple):
    """A fusion, sizes and a number of skip connections, which many graphs share."""

    fusion: str
    depth: int
    budget: int
    connections: int


def sparse_text(axes: Axes) -> str:
    """Returns the end of a sentence on a space: ", and sparse wirings of 12 or 24 connections, ..."; empty without."""
    if axes.sparse is None:
        return ""
    graphs = SparseGraphs(axes)
    if not graphs.any_feasible:
        return ", and no sparse wirings: none of a few tried ones meets a budget"
    counts = " or ".join(map(str, sorted(axes.sparse.connections)))
    fusions = f" of {', '.join(axes.sparse.fusions)}" if axes.sparse.fusions else ""
    return f", and sparse wirings{fusions} of {counts} connections, proposed during the search"


class SparseGraphs:
    """Resolves sparse wirings to the budgets of a space."""

    def __init__(self, axes: Axes) -> None:
        assert axes.sparse is not None
        self._axes = axes
        self.connections = axes.sparse.connections
        self.fusions = axes.sparse.fusions or tuple(name for name in axes.fusions if not has_one_wiring(name))

    @cached_property
    def targets(self) -> tuple[SparseTarget, ...]:
        """What the graphs share, in a fixed order: every fusion, depth, budget and count that has enough graphs."""
        return tuple(
            SparseTarget(fusion, depth, budget, count)
            for fusion in self.fusions
            for depth in self._axes.depths
            for budget in self._axes.budgets
            for count in self.counts(depth)
        )

    def counts(self, depth: int) -> tuple[int, ...]:
        """Returns the numbers of skip connections of which a depth has enough graphs."""
        return tuple(count for count in self.connections if num_graphs(depth, count) >= MIN_GRAPHS)

    @cached_property
    def any_feasible(self) -> bool:
        """Whether any of a few random graphs of each target meets its budget."""
        rng = random.Random(0)
        return any(
            self.resolved(
                random_wiring(target.depth, connections=target.connections, rng=rng),
                fusion=target.fusion,
                budget=target.budget,
            )
            for target in self.targets
            for _ in range(_DRAWS)
        )

    def resolved(self, wiring: Wiring, *, fusion: str, budget: int) -> Architecture | None:
        """Returns the architecture of a wiring that meets the budget; `None` if none does."""
        try:
            return resolve(fusion=fusion, wiring=wiring, budget=budget, **self._axes.sizes)
        except BudgetError:
            return None

    def budget_of(self, architecture: Architecture) -> int | None:
        """Returns the budget of the space that leads to this architecture; `None` where it is no sparse graph of it."""
        wiring = architecture.wiring
        if architecture.fusion not in self.fusions or wiring.depth not in self._axes.depths:
            return None
        if len(skip_connections(wiring)) not in self.connections:
            return None
        found = (
            budget
            for budget in self._axes.budgets
            if self.resolved(wiring, fusion=architecture.fusion, budget=budget) == architecture
        )
        return next(found, None)
