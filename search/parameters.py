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
from depthweave.spaces.hosted import is_plain
from depthweave.spaces.plain_names import is_plain_name
from depthweave.spaces.space import Axes, Candidate, Combination, SearchSpace, rules_of
from depthweave.spaces.sparse_graphs import SparseGraphs
from depthweave.spaces.wiring_rules import WiringRule, edges_rule, strided_rule
from depthweave.spaces.wiring_text import parse_rule

SPARSE_WIRING = "sparse_wiring"
"""Name of the value that holds the connections of a sparse graph, such as "edges:0-3+2-7"."""


class Parameters:
    """The axes as categorical distributions. Several combinations of values may name one architecture.

    A space without `wirings` has a dilation and a period. Otherwise one parameter is the text of the wiring rule.
    """

    def __init__(self, space: SearchSpace) -> None:
        axes = space.axes
        fusions = tuple(dict.fromkeys((axes.plain, *axes.fusions)))
        self.space = space
        self.architecture_ids = [item.architecture.id for item in space]
        self.sparse = None if axes.sparse is None else SparseGraphs(axes)
        """The graphs that are sampled beside the enumerated ones."""
        self._sparse_ids: dict[tuple[Any, ...], str | None] = {}
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
        self._include_sparse(architecture, budget=budget)
        return architecture.id

    def spelling(self, architecture_id: str) -> dict[str, Any]:
        """Returns values of all parameters that name this architecture."""
        item = self.space[architecture_id]
        if is_sparse(item):
            return sparse_values(item)
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

    def _sparse_id(self, values: Mapping[str, Any]) -> str | None:
        """Returns the id of a sparse graph, which is then known; `None` where the values name none."""
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
            wiring = parse_rule(text).wiring(depth)
        except ValueError:
            return None
        architecture = self.sparse.resolved(wiring, fusion=fusion, budget=budget)
        if architecture is None:
            return None
        self._include_sparse(architecture, budget=budget)
        return architecture.id

    def _include_sparse(self, architecture: Architecture, *, budget: int) -> None:
        # Where a combination gives the same graph, that candidate stays.
        rule = edges_rule(architecture.wiring)
        self.space.include(Candidate(architecture=architecture, rule=rule, budget=budget))


def is_sparse(item: Candidate) -> bool:
    """Whether a candidate is a sparse graph, which no combination of the space leads to."""
    return not item.spellings and not is_plain(item.architecture)


def sparse_values(item: Candidate) -> dict[str, Any]:
    """Returns the values that name a sparse graph."""
    return {
        "fusion": item.architecture.fusion,
        "depth": item.architecture.depth,
        "budget": item.budget,
        SPARSE_WIRING: edges_rule(item.architecture.wiring).text,
    }


def _wirings(axes: Axes) -> dict[str, CategoricalDistribution]:
    """Returns the parameters of the wiring: those of earlier journals if the space has dilations and periods only."""
    if not axes.wirings:
        return {
            "dilation": CategoricalDistribution(axes.dilations),
            "period": CategoricalDistribution(axes.periods),
        }
    texts = (rule.text for depth in axes.depths for rule in rules_of(axes, depth=depth))
    return {"wiring": CategoricalDistribution(tuple(dict.fromkeys(texts)))}


def _combination(values: Mapping[str, Any]) -> Combination:
    rule = None if is_plain_name(values["fusion"]) else _rule(values)
    return Combination(values["fusion"], rule, values["depth"], values["budget"])


def _rule(values: Mapping[str, Any]) -> WiringRule:
    if "wiring" in values:
        return parse_rule(values["wiring"])
    return strided_rule(values["dilation"], values["depth"] if values["period"] == "depth" else values["period"])
