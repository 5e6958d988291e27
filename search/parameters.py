"""A search space as Optuna parameters: each axis is categorical, and their values together name an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from optuna.distributions import CategoricalDistribution

from depthweave.spaces.space import Axes, Candidate, Combination, SearchSpace, rules_of
from depthweave.spaces.wiring_rules import WiringRule, strided_rule
from depthweave.spaces.wiring_text import parse_rule


class Parameters:
    """The axes as categorical distributions. Several combinations of values may name one architecture.

    A space without `wirings` has a dilation and a period. Otherwise one parameter is the text of the wiring rule.
    """

    def __init__(self, space: SearchSpace) -> None:
        axes = space.axes
        fusions = tuple(dict.fromkeys(("none", *axes.fusions)))
        self.space = space
        self.architecture_ids = [item.architecture.id for item in space]
        self.known = frozenset(self.architecture_ids)
        self.distributions: Mapping[str, CategoricalDistribution] = {
            "fusion": CategoricalDistribution(fusions),
            **_wirings(axes),
            "depth": CategoricalDistribution(axes.depths),
            "budget": CategoricalDistribution(axes.budgets),
        }
        # Precomputed: every proposal looks up the architectures of all earlier trials.
        names = list(self.distributions)
        self._ids = {
            values: self.space.by_combination.get(_combination(dict(zip(names, values, strict=True))))
            for values in product(*(item.choices for item in self.distributions.values()))
        }

    def architecture_id(self, values: Mapping[str, Any]) -> str | None:
        """Returns the architecture of these values; `None` if the combination is infeasible or a value is missing."""
        return self._ids.get(tuple([values.get(name) for name in self.distributions]))

    def spelling(self, architecture_id: str) -> dict[str, Any]:
        """Returns values of all parameters that name this architecture."""
        item = self.space[architecture_id]
        return {
            "fusion": item.architecture.fusion,
            **self._wiring(item),
            "depth": item.architecture.depth,
            "budget": item.budget,
        }

    def _wiring(self, item: Candidate) -> dict[str, Any]:
        axes = self.space.axes
        if "wiring" in self.distributions:
            return {"wiring": self.distributions["wiring"].choices[0] if item.rule is None else item.rule.text}
        if item.rule is None:
            return {"dilation": axes.dilations[0], "period": axes.periods[0]}
        stride = item.rule.stride
        assert stride is not None
        return {"dilation": stride.dilation, "period": stride.period if stride.period in axes.periods else "depth"}


def _wirings(axes: Axes) -> dict[str, CategoricalDistribution]:
    """The parameters that say the wiring: those of earlier journals if the space has dilations and periods only."""
    if not axes.wirings:
        return {
            "dilation": CategoricalDistribution(axes.dilations),
            "period": CategoricalDistribution(axes.periods),
        }
    texts = (rule.text for depth in axes.depths for rule in rules_of(axes, depth=depth))
    return {"wiring": CategoricalDistribution(tuple(dict.fromkeys(texts)))}


def _combination(values: Mapping[str, Any]) -> Combination:
    rule = None if values["fusion"] == "none" else _rule(values)
    return Combination(values["fusion"], rule, values["depth"], values["budget"])


def _rule(values: Mapping[str, Any]) -> WiringRule:
    if "wiring" in values:
        return parse_rule(values["wiring"])
    return strided_rule(values["dilation"], values["depth"] if values["period"] == "depth" else values["period"])
