"""A pool of the enumerated architectures and of sampled sparse graphs, which grows with what is known.

Sparse graphs come from random draws, from moves of good trials and crosses of pairs of them, and from the largest
weights of trained models that read more. Good trials are those on the front of losses and costs, then the lowest
losses; a forecast counts as a loss. All are proposals: the surrogate weighs them as it weighs every candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import moocore
import numpy as np
from optuna.distributions import CategoricalDistribution

from depthweave.reports.store.objectives import column_value, cost_names
from depthweave.search.known_columns import KnownColumns
from depthweave.search.parameters import Parameters, sparse_values
from depthweave.search.surrogate.candidates import Candidates, FloatArray, Sources
from depthweave.search.surrogate.graph_features import GraphEncoder
from depthweave.search.surrogate.offspring import Offspring
from depthweave.search.surrogate.pool import Key, PoolTrial, View
from depthweave.spaces.skip_connections import Connection, num_skip_connections, wiring_of
from depthweave.spaces.space import Candidate
from depthweave.trainers import Measurement

WeightSource = Callable[[int], Mapping[Connection, float]]
"""Returns the size of each connection of a complete trial, by its number; empty where none is recorded."""

_MAX_ENUMERATED = 2048
"""Most enumerated architectures of a decision; of a larger space a sample that changes with every trial."""
_RARE = 64
"""A fusion with at most so many enumerated architectures is in every sample."""
_NUM_FIRST = 8
"""Enumerated architectures that are tried before any sparse graph, as many as the sampler spreads over the costs."""
_NUM_RANDOM = 256
"""Random graphs, shared by all targets."""
_MIN_RANDOM = 2
"""Fewest of a target."""
_MAX_TARGETS = 128
"""Most targets that get random graphs; of more, evenly chosen ones."""
_NUM_PARENTS, _NUM_CHILDREN = 16, 24
"""Good trials, and children of each."""
_NUM_CROSSED, _NUM_CROSSES = 6, 8
"""The best parents are crossed in pairs, and each pair has so many crosses."""
_NUM_WEIGHED = 16
"""Models whose weights propose graphs."""


class _Row(NamedTuple):
    """A sparse graph's row of the arrays, and the values that name it."""

    features_F: FloatArray
    costs_C: FloatArray
    cost_features_H: FloatArray
    source_logs_K: FloatArray
    values: Mapping[str, Any]


_Arrays = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""The arrays of `_Row`, with a row for each graph."""


class SparsePool:
    """The enumerated architectures of a space and sparse graphs."""

    def __init__(
        self,
        parameters: Parameters,
        *,
        objectives: Sequence[str],
        measured: Mapping[str, Measurement],
        seed: int,
        weights: WeightSource | None = None,
        sources: Sources | None = None,
    ) -> None:
        assert parameters.sparse is not None
        space = parameters.space
        self._parameters, self._graphs, self._space = parameters, parameters.sparse, space
        self._costs, self._measured, self._seed, self._weights = cost_names(objectives), measured, seed, weights
        self._sources = sources
        self._base = [space[item] for item in parameters.architecture_ids]
        self._encoder = GraphEncoder(
            self._base, fusions=[str(name) for name in parameters.distributions["fusion"].choices]
        )
        self._offspring = Offspring(self._graphs, depths=space.axes.depths, budgets=space.axes.budgets, seed=seed)
        self._base_rows = self._encoded(self._base)
        self._base_parameters = tuple(parameters.spelling(item) for item in parameters.architecture_ids)
        self._known: dict[str, _Row] = {}
        """The rows of the last decision's sparse graphs, by id, in their order."""
        self._largest: dict[int, list[Connection]] = {}
        self._last: tuple[tuple[PoolTrial, ...], View] | None = None

    @property
    def distributions(self) -> Mapping[str, CategoricalDistribution]:
        """The Optuna parameters; a sparse graph has no dilation and period."""
        return self._parameters.distributions

    @property
    def num_costs(self) -> int:
        """Number of cost objectives."""
        return len(self._costs)

    def key_of(self, parameters: Mapping[str, Any]) -> Key | None:
        """Returns the architecture id of the parameters; `None` where they name none."""
        return self._parameters.architecture_id(parameters)

    def view(self, trials: Sequence[PoolTrial]) -> View:
        """Returns the enumerated architectures, the tried sparse graphs and the proposed ones, after these trials."""
        asked = tuple(trials)
        # The sampler asks the same as the chooser before it, and what is computed for the first serves both.
        if self._last is None or self._last[0] != asked:
            self._last = asked, self._made(asked)
        return self._last[1]

    def _made(self, trials: Sequence[PoolTrial]) -> View:
        enumerated = set(self._parameters.architecture_ids)
        tried = {item.key: self._space[item.key] for item in trials}
        sparse = {key: item for key, item in tried.items() if key not in enumerated}
        without = {*enumerated, *tried}
        # The enumerated architectures are known best, and dense ones among them have weights to learn from.
        if len(tried) >= _NUM_FIRST or enumerated <= tried.keys():
            for item in self._proposed(trials, without=without):
                sparse.setdefault(item.architecture.id, item)
        shown = self._shown(set(tried), num_trials=len(trials))
        sparse_rows = self._sparse_rows(list(sparse.values()))
        features, costs, cost_features, source_logs = (
            np.concatenate([base[shown], own]) for base, own in zip(self._base_rows, sparse_rows, strict=True)
        )
        candidates = Candidates(
            distributions=self.distributions,
            parameters=(
                *(self._base_parameters[row] for row in shown),
                *(row.values for row in self._known.values()),
            ),
            features_NF=features,
            groups_F=self._encoder.groups_F,
            costs_NC=costs,
            cost_features_NH=cost_features,
            source_logs_NK=None if self._sources is None else source_logs,
        )
        ids = [*(self._parameters.architecture_ids[row] for row in shown), *sparse]
        return View(candidates, {key: row for row, key in enumerate(ids)})

    def _shown(self, tried: set[Key], *, num_trials: int) -> list[int]:
        """Returns the rows of this decision's enumerated architectures: all, or the rare, the tried and a sample."""
        ids = self._parameters.architecture_ids
        if len(ids) <= _MAX_ENUMERATED:
            return list(range(len(ids)))
        count = Counter(item.architecture.fusion for item in self._base)
        fixed = [
            row for row, key in enumerate(ids) if key in tried or count[self._base[row].architecture.fusion] <= _RARE
        ]
        rng = np.random.default_rng([self._seed, num_trials])
        return sorted({*fixed, *rng.choice(len(ids), _MAX_ENUMERATED, replace=False).tolist()})

    def _proposed(self, trials: Sequence[PoolTrial], *, without: set[str]) -> list[Candidate]:
        """Returns sparse graphs that were not tried, in a fixed order; some may occur twice."""
        found = self._from_weights(trials, without=without)
        parents = self._parents(trials)
        for parent in parents:
            found += self._offspring.children(parent, count=_NUM_CHILDREN, without=without)
        for first, second in combinations(parents[:_NUM_CROSSED], 2):
            found += self._offspring.crosses(first, second, count=_NUM_CROSSES, without=without)
        targets = self._graphs.targets[:: max(1, len(self._graphs.targets) // _MAX_TARGETS)]
        for target in targets:
            count = max(_MIN_RANDOM, _NUM_RANDOM // len(targets))
            found += self._offspring.randoms(target, count=count, without=without)
        return found

    def _parents(self, trials: Sequence[PoolTrial]) -> list[Candidate]:
        """Returns the front of losses and costs, then the lowest losses, without plain architectures."""
        known = [item for item in trials if item.evidence.loss is not None and not item.evidence.failed]
        known = [item for item in known if self._space[item.key].architecture.fusion != "none"]
        if not known:
            return []
        losses = np.array([item.evidence.loss for item in known], dtype=np.float64)
        costs = [item.evidence.costs_C or (np.inf,) * self.num_costs for item in known]
        points = np.column_stack([losses, np.array(costs, dtype=np.float64).reshape(len(known), self.num_costs)])
        # A cost that is not known is no advantage.
        front = moocore.is_nondominated(np.nan_to_num(points, nan=1e300, posinf=1e300))
        order = np.lexsort((losses, ~front))
        half = _NUM_PARENTS // 2
        best = [*order[:half].tolist(), *np.argsort(losses, kind="stable").tolist()]
        return [self._space[known[place].key] for place in dict.fromkeys(best)][:_NUM_PARENTS]

    def _from_weights(self, trials: Sequence[PoolTrial], *, without: set[str]) -> list[Candidate]:
        """Returns the graphs of the largest connections of the best denser models, one a model and wanted number."""
        if self._weights is None:
            return []
        complete = [item for item in trials if item.evidence.finished and item.evidence.loss is not None]
        complete = [item for item in complete if self._is_denser(self._space[item.key])]
        complete.sort(key=lambda item: (item.evidence.loss, item.number))
        found = []
        for item in complete[:_NUM_WEIGHED]:
            parent = self._space[item.key]
            if item.number not in self._largest:
                self._largest[item.number] = largest_first(self._weights(item.number))
            ordered = self._largest[item.number]
            for count in self._graphs.counts(parent.architecture.depth):
                wiring = wiring_of(parent.architecture.depth, ordered[:count]) if len(ordered) > count else None
                if wiring is not None:
                    made = self._offspring.candidate(wiring, fusion=parent.architecture.fusion, budget=parent.budget)
                    found += [] if made is None or made.architecture.id in without else [made]
        return found

    def _is_denser(self, item: Candidate) -> bool:
        """Returns whether a fusion of sparse graphs has more connections here than some wanted number."""
        built = item.architecture
        counts = self._graphs.counts(built.depth) if built.fusion in self._graphs.fusions else ()
        return any(num_skip_connections(built.wiring) > count for count in counts)

    def _sparse_rows(self, items: Sequence[Candidate]) -> _Arrays:
        """Returns the rows of sparse graphs; those of the last decision are not computed again."""
        new = [item for item in items if item.architecture.id not in self._known]
        rows = zip(*self._encoded(new), map(sparse_values, new), strict=True)
        known = self._known | {item.architecture.id: _Row(*row) for item, row in zip(new, rows, strict=True)}
        self._known = {item.architecture.id: known[item.architecture.id] for item in items}
        if not items:
            return self._encoded([])
        features, costs, cost_features, source_logs, _ = zip(*self._known.values(), strict=True)
        return np.stack(features), np.stack(costs), np.stack(cost_features), np.stack(source_logs)

    def _encoded(self, items: Sequence[Candidate]) -> _Arrays:
        """Returns features [N, F], costs [N, C], cost features [N, H] and what sources say [N, K].

        A cost that needs a measurement is NaN.
        """
        known = [KnownColumns(item.architecture, self._measured.get(item.architecture.id)) for item in items]
        values = [[column_value(item, name) for name in self._costs] for item in known]
        costs_NC = np.array([[np.nan if value is None else value for value in row] for row in values], dtype=np.float64)
        return (
            self._encoder.features(items),
            costs_NC.reshape(len(items), len(self._costs)),
            self._encoder.cost_features(items),
            self._source_logs(items),
        )

    def _source_logs(self, items: Sequence[Candidate]) -> FloatArray:
        if self._sources is None:
            return np.empty((len(items), 0))
        return self._sources.log_losses([item.architecture for item in items])


def largest_first(sizes: Mapping[Connection, float]) -> list[Connection]:
    """Returns the connections from the largest to the smallest; equal ones in the order of site and source."""
    return sorted(sizes, key=lambda item: (-sizes[item], item))
