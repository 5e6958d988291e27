"""A search space as Optuna parameters: each axis is categorical, and their values together name an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from optuna.distributions import CategoricalDistribution

from depthweave.spaces.space import Candidate, Combination, Pattern, SearchSpace


class Parameters:
    """The five axes as categorical distributions. Several combinations of values may name one architecture."""

    def __init__(self, space: SearchSpace) -> None:
        axes = space.axes
        fusions = tuple(dict.fromkeys(("none", *axes.fusions)))
        self.space = space
        self.architecture_ids = [item.architecture.id for item in space]
        self.known = frozenset(self.architecture_ids)
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
        return self._ids.get(tuple([values.get(name) for name in self.distributions]))

    def spelling(self, architecture_id: str) -> dict[str, Any]:
        """Returns values of all parameters that name this architecture."""
        item = self.space[architecture_id]
        axes = self.space.axes
        return {
            "fusion": item.architecture.fusion,
            "dilation": axes.dilations[0] if item.pattern is None else item.pattern.dilation,
            "period": axes.periods[0] if item.pattern is None else self._period(item),
            "depth": item.architecture.depth,
            "budget": item.budget,
        }

    def _period(self, item: Candidate) -> int | str:
        assert item.pattern is not None
        return item.pattern.period if item.pattern.period in self.space.axes.periods else "depth"


def _combination(fusion: Any, dilation: Any, period: Any, depth: Any, budget: Any) -> Combination:
    pattern = None if fusion == "none" else Pattern(dilation, depth if period == "depth" else period)
    return Combination(fusion, pattern, depth, budget)
