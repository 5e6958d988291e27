"""The finite set that a sampler chooses from: the parameters, encoding and known costs of each candidate.

Architectures are encoded for a kernel: the fusion one-hot, sizes on a logarithmic scale, and the wiring as the share of
possible connections in each cell of a coarse grid of sites and sources.

Axes: N candidates, F feature columns, C cost objectives, H cost features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from depthweave.reports.store.objectives import column_value, cost_names
from depthweave.search.known_columns import KnownColumns
from depthweave.search.parameters import Parameters
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import Costs, costs_of
from depthweave.spaces.hosted import is_plain
from depthweave.spaces.space import Candidate
from depthweave.spaces.wiring import Wiring
from depthweave.trainers import Measurement

FloatArray = NDArray[np.float64]
Indices = NDArray[np.intp]

_GRID = 3
"""Number of parts that the grid divides the depth into, for sites and for sources."""


class Sources(Protocol):
    """Other runs, asked about architectures (`transfer.py`)."""

    def log_losses(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Returns the logarithm of the final loss that each run predicts, `[N, K]`."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """N candidates. The arrays are read-only by convention."""

    distributions: Mapping[str, CategoricalDistribution]
    """The Optuna parameters, all categorical."""
    parameters: tuple[Mapping[str, Any], ...]
    """The values of each candidate."""
    features_NF: FloatArray
    """Columns of about unit standard deviation; categories one-hot, with `sqrt(0.5)` in place of 1."""
    groups_F: Indices
    """The group of each column, from 0. The columns of a group share a length scale."""
    costs_NC: FloatArray
    """The cost objectives, minimised, in the study's order without the loss; NaN where only a measurement can tell."""
    cost_features_NH: FloatArray
    """Nonnegative quantities that are known in advance, such as operations. Unknown costs are weighted sums of them."""
    source_logs_NK: FloatArray | None = None
    """Logarithms of the losses that other runs predict (`transfer.py`), a column a run; `None` without a warm start."""

    def __post_init__(self) -> None:
        size = len(self.parameters)
        for name in ("features_NF", "costs_NC", "cost_features_NH", "source_logs_NK"):
            if getattr(self, name) is None:
                continue
            if getattr(self, name).ndim != 2:
                raise ValueError(
                    f"Candidates.{name} has shape {getattr(self, name).shape}: it must have a row for each candidate"
                )
            if getattr(self, name).shape[0] != size:
                raise ValueError(f"Candidates.{name} has {getattr(self, name).shape[0]} rows for {size} candidates")
        if len(self.groups_F) != self.features_NF.shape[1]:
            raise ValueError(f"Candidates.groups_F names {len(self.groups_F)} of {self.features_NF.shape[1]} columns")


def categorical(
    parameters: Sequence[Mapping[str, Any]],
    *,
    distributions: Mapping[str, CategoricalDistribution],
    costs_NC: FloatArray,
) -> Candidates:
    """Returns candidates that are known by their categorical parameters and costs only.

    A cost that is NaN is modelled as a sum over the parameters, with a term for each choice.
    """
    columns = [_one_hot([item[name] for item in parameters], known.choices) for name, known in distributions.items()]
    groups = [group for group, known in enumerate(distributions.values()) for _ in known.choices]
    return Candidates(
        distributions=distributions,
        parameters=tuple(parameters),
        features_NF=np.concatenate(columns, axis=1),
        groups_F=np.array(groups, dtype=np.intp),
        costs_NC=np.asarray(costs_NC, dtype=np.float64),
        cost_features_NH=np.column_stack([(np.concatenate(columns, axis=1) > 0.0), _counts(parameters, distributions)]),
    )


def of_space(
    parameters: Parameters,
    *,
    objectives: Sequence[str],
    measured: Mapping[str, Measurement] = MappingProxyType({}),
    sources: Sources | None = None,
) -> Candidates:
    """Returns the architectures of a search space as candidates.

    Costs that follow from the architecture are known, and so are the `measured` ones, by architecture id. Other costs
    are NaN. `sources` predict the losses from other runs.
    """
    items = [parameters.space[item] for item in parameters.architecture_ids]
    known = [costs_of(item.architecture) for item in items]
    columns = [KnownColumns(item.architecture, measured.get(item.architecture.id)) for item in items]
    costs = []
    for name in cost_names(objectives):
        values = [column_value(item, name) for item in columns]
        costs.append(np.array([np.nan if value is None else value for value in values], dtype=np.float64))
    depths = [item.architecture.depth for item in items]
    connections = [1 + item.architecture.wiring.num_connections for item in items]
    groups = [
        _one_hot([item.architecture.fusion for item in items], parameters.distributions["fusion"].choices),
        _logarithm(depths),
        _logarithm([item.budget for item in items]),
        _logarithm([item.architecture.feed_forward / item.architecture.width for item in items]),
        _logarithm(connections),
        _logarithm([_dilation(item) for item in items]),
        _logarithm([_period(item) for item in items]),
        _wiring_grids([item.architecture.wiring for item in items]),
    ]
    return Candidates(
        distributions=parameters.distributions,
        parameters=tuple(parameters.spelling(item) for item in parameters.architecture_ids),
        features_NF=np.concatenate(groups, axis=1),
        groups_F=np.repeat(np.arange(len(groups)), [item.shape[1] for item in groups]).astype(np.intp),
        costs_NC=np.stack(costs, axis=1) if costs else np.ones((len(items), 0)),
        cost_features_NH=_cost_features(items, known),
        source_logs_NK=None if sources is None else sources.log_losses([item.architecture for item in items]),
    )


def _dilation(item: Candidate) -> int:
    """The dilation of KxP; 1 for other rules, whose sources only the grid tells apart."""
    return 1 if item.rule is None or item.rule.stride is None else item.rule.stride.dilation


def _period(item: Candidate) -> int:
    """The blocks between sites; more than the depth without a site."""
    if item.rule is None:
        return 2 * item.architecture.depth
    return item.architecture.depth if item.rule.period == "depth" else item.rule.period


def _counts(
    parameters: Sequence[Mapping[str, Any]], distributions: Mapping[str, CategoricalDistribution]
) -> FloatArray:
    """Returns how often each value that several parameters share occurs, such as an operation on several edges."""
    choices = [set(known.choices) for known in distributions.values()]
    shared = sorted((item for item in set().union(*choices) if sum(item in known for known in choices) > 1), key=repr)
    rows = [[list(item.values()).count(value) for value in shared] for item in parameters]
    return np.array(rows, dtype=np.float64).reshape(len(parameters), len(shared))


def _one_hot(values: Sequence[Any], choices: Sequence[Any]) -> FloatArray:
    # With sqrt(0.5), two different choices have a squared distance of 1.
    held = np.array([[value == choice for choice in choices] for value in values], dtype=np.float64)
    return np.asarray(held * np.sqrt(0.5))


def _logarithm(values: Sequence[float]) -> FloatArray:
    logs = np.log(np.asarray(values, dtype=np.float64))
    return np.asarray((logs - logs.mean()) / (logs.std() or 1.0))[:, None]


def _cost_features(items: Sequence[Candidate], costs: Sequence[Costs]) -> FloatArray:
    """Operations, parameters, blocks, and for each fusion its sites, connections and states, all nonnegative."""
    fusions = sorted({item.architecture.fusion for item in items if not is_plain(item.architecture)})
    rows = []
    for item, known in zip(items, costs, strict=True):
        built = item.architecture
        own = np.zeros((len(fusions), 3))
        if not is_plain(built):
            counts = [len(built.wiring.sites), built.wiring.num_connections, known.kept_states]
            own[fusions.index(built.fusion)] = np.array(counts) * built.width
        blocks = built.depth * np.array([1, built.width, built.feed_forward])
        rows.append([known.forward_flops, known.parameters, *blocks, *own.ravel()])
    return np.array(rows, dtype=np.float64)


def _wiring_grids(wirings: Sequence[Wiring]) -> FloatArray:
    """Returns the square root of the share of possible connections in each cell; the root emphasises small shares."""
    # Architectures with the same wiring share one object. Comparing wirings would take as long as encoding them.
    known = {id(item): item for item in wirings}
    grids = {key: _wiring_grid(item) for key, item in known.items()}
    return np.stack([grids[id(item)] for item in wirings])


def _wiring_grid(wiring: Wiring) -> FloatArray:
    connections = np.zeros((_GRID, _GRID))
    for block, sources in wiring:
        columns = np.array(sources) * _GRID // (wiring.depth + 1)
        connections[(block - 1) * _GRID // wiring.depth] += np.bincount(columns, minlength=_GRID)
    return np.asarray(np.sqrt(connections / np.maximum(_possible(wiring.depth), 1.0))).ravel()


@lru_cache(maxsize=512)
def _possible(depth: int) -> FloatArray:
    """Returns the number of possible connections in each cell."""
    possible = np.zeros((_GRID, _GRID))
    for block in range(1, depth + 1):
        columns = np.arange(block + 1) * _GRID // (depth + 1)
        possible[(block - 1) * _GRID // depth] += np.bincount(columns, minlength=_GRID)
    return possible
