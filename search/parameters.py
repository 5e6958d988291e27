"""A search space as Optuna parameters: each axis is categorical, and their values together name an architecture.

A sparse graph has no dilation and period. Its connections are a text beside the other parameters, under
`SPARSE_WIRING`: Optuna's categorical parameters have a fixed list of choices, and the graphs cannot be listed.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping
from functools import cached_property
from itertools import product
from typing import Any

from optuna.distributions import CategoricalDistribution

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.space import Candidate, Combination, Pattern, SearchSpace
from depthweave.spaces.sparse import SparseGraphs, text_of, wiring_from

SPARSE_WIRING = "sparse_wiring"
"""Name of the value that holds the connections of a sparse graph, such as "edges:0-3+2-7"."""


class Parameters:
    """The five axes as categorical distributions. Several combinations of values may name one architecture."""

    def __init__(self, space: SearchSpace) -> None:
        axes = space.axes
        fusions = tuple(dict.fromkeys(("none", *axes.fusions)))
        self.space = space
        self.architecture_ids = [item.architecture.id for item in space]
        self.sparse = None if axes.sparse is None else SparseGraphs(axes)
        """The graphs that are sampled beside the enumerated ones."""
        self._sparse_ids: dict[tuple[Any, ...], str | None] = {}
        self.distributions: Mapping[str, CategoricalDistribution] = {
            "fusion": CategoricalDistribution(fusions),
            "dilation": CategoricalDistribution(axes.dilations),
            "period": CategoricalDistribution(axes.periods),
            "depth": CategoricalDistribution(axes.depths),
            "budget": CategoricalDistribution(axes.budgets),
        }
        # Precomputed: every proposal looks up the architectures of all earlier trials.
        self._ids = {
            values: self.space.by_combination.get(_combination(*values))
            for values in product(*(item.choices for item in self.distributions.values()))
        }

    def architecture_id(self, values: Mapping[str, Any]) -> str | None:
        """Returns the architecture of these values; `None` if the combination is infeasible or a value is missing."""
        if SPARSE_WIRING in values:
            return self._sparse_id(values)
        return self._ids.get(tuple([values.get(name) for name in self.distributions]))

    @property
    def known(self) -> KeysView[str]:
        """Ids of all architectures of the space, and of the sparse graphs that were tried."""
        return self.space.known_ids

    @cached_property
    def has_sparse(self) -> bool:
        """Whether the space has sparse graphs that meet a budget. They do not run out: there are too many."""
        return self.sparse is not None and self.sparse.any_feasible

    def adopted(self, architecture: Architecture) -> str | None:
        """Returns the id of an architecture of the space, or of a sparse graph, which is then known; else `None`."""
        if architecture.id in self.known:
            return architecture.id
        budget = None if self.sparse is None else self.sparse.budget_of(architecture)
        if budget is None:
            return None
        self.space.include(Candidate(architecture=architecture, pattern=None, budget=budget))
        return architecture.id

    def spelling(self, architecture_id: str) -> dict[str, Any]:
        """Returns values of all parameters that name this architecture."""
        item = self.space[architecture_id]
        axes = self.space.axes
        if is_sparse(item):
            return sparse_values(item)
        return {
            "fusion": item.architecture.fusion,
            "dilation": axes.dilations[0] if item.pattern is None else item.pattern.dilation,
            "period": axes.periods[0] if item.pattern is None else self._period(item),
            "depth": item.architecture.depth,
            "budget": item.budget,
        }

    def _sparse_id(self, values: Mapping[str, Any]) -> str | None:
        """The id of a sparse graph, which is then known; `None` where the values name none."""
        key = tuple([values.get(name) for name in ("fusion", "depth", "budget", SPARSE_WIRING)])
        if key not in self._sparse_ids:
            self._sparse_ids[key] = self._include(*key)
        return self._sparse_ids[key]

    def _include(self, fusion: Any, depth: Any, budget: Any, text: Any) -> str | None:
        axes = self.space.axes
        if self.sparse is None or (fusion not in self.sparse.fusions) or not isinstance(text, str):
            return None
        if depth not in axes.depths or budget not in axes.budgets:
            return None
        try:
            wiring = wiring_from(text, depth=depth)
        except ValueError:
            return None
        architecture = self.sparse.resolved(wiring, fusion=fusion, budget=budget)
        if architecture is None:
            return None
        # Where a combination gives the same graph, that candidate stays.
        self.space.include(Candidate(architecture=architecture, pattern=None, budget=budget))
        return architecture.id

    def _period(self, item: Candidate) -> int | str:
        assert item.pattern is not None
        return item.pattern.period if item.pattern.period in self.space.axes.periods else "depth"


def is_sparse(item: Candidate) -> bool:
    """Whether a candidate is a sparse graph, which no dilation and period name."""
    return item.pattern is None and item.architecture.fusion != "none"


def sparse_values(item: Candidate) -> dict[str, Any]:
    """Returns the values that name a sparse graph."""
    return {
        "fusion": item.architecture.fusion,
        "depth": item.architecture.depth,
        "budget": item.budget,
        SPARSE_WIRING: text_of(item.architecture.wiring),
    }


def _combination(fusion: Any, dilation: Any, period: Any, depth: Any, budget: Any) -> Combination:
    pattern = None if fusion == "none" else Pattern(dilation, depth if period == "depth" else period)
    return Combination(fusion, pattern, depth, budget)
