"""The candidates that a decision chooses from: the same at every decision, or growing with what is known.

A pool is a pure function of the trials and the seed, as sampler and chooser are: both see the same candidates, and so
does a resumed search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from optuna.distributions import CategoricalDistribution

from depthweave.search.surrogate.candidates import Candidates
from depthweave.search.surrogate.loss_model import Evidence

NO_ROW = -1
"""Row of evidence before a view has given the candidates their rows."""
Key = Any
"""What a pool calls a candidate; it can be hashed and compared."""


class PoolTrial(NamedTuple):
    """A trial as a pool sees it."""

    number: int
    key: Key
    evidence: Evidence
    """Its row is `NO_ROW`."""


class View(NamedTuple):
    """The candidates of one decision."""

    candidates: Candidates
    rows: Mapping[Key, int]
    """The row of each candidate that has been tried; it may hold others."""


class Pool(Protocol):
    """The candidates of a search."""

    @property
    def distributions(self) -> Mapping[str, CategoricalDistribution]:
        """The Optuna parameters."""

    @property
    def num_costs(self) -> int:
        """Number of cost objectives."""

    def key_of(self, parameters: Mapping[str, Any]) -> Key | None:
        """Returns the candidate that parameters name; `None` where they name none."""

    def view(self, trials: Sequence[PoolTrial]) -> View:
        """Returns the candidates after these trials."""


class FixedPool:
    """Candidates that stay the same."""

    def __init__(self, candidates: Candidates, *, keys: Sequence[Key] | None = None) -> None:
        """`keys` are the candidates' names, in their order; by default their parameters."""
        parameters = [_key(item) for item in candidates.parameters]
        self._keys = dict(zip(parameters, parameters if keys is None else keys, strict=True))
        self._view = View(candidates, {key: row for row, key in enumerate(self._keys.values())})

    @property
    def distributions(self) -> Mapping[str, CategoricalDistribution]:
        """The Optuna parameters."""
        return self._view.candidates.distributions

    @property
    def num_costs(self) -> int:
        """Number of cost objectives."""
        return int(self._view.candidates.costs_NC.shape[1])

    def key_of(self, parameters: Mapping[str, Any]) -> Key | None:
        """Returns the candidate that parameters name; `None` where they name none."""
        return self._keys.get(_key(parameters))

    def view(self, trials: Sequence[PoolTrial]) -> View:
        """Returns the candidates, always the same."""
        return self._view


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))
