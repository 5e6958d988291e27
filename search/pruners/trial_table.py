"""The trials that a decision of `pareto` is about, as arrays.

Axes: T trials, R rungs and the last evaluation, C costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.search.pruners.chooser import TrialSnapshot
from depthweave.search.surrogate.learning_curves import Array


class TrialTable(NamedTuple):
    """The trials that have reached the first rung, as arrays."""

    names: tuple[str, ...]
    """Of the costs."""
    evaluations: tuple[int, ...]
    """The column of `losses_TR` each: the rungs and the last evaluation."""
    number_T: NDArray[np.int64]
    num_losses_T: NDArray[np.int64]
    losses_TR: Array
    """NaN where not reached."""
    costs_TC: Array
    paused: NDArray[np.intp]
    """Rows of the paused trials."""
    finished: NDArray[np.intp]
    """Rows of the complete trials."""


def trial_table(
    snapshots: Sequence[TrialSnapshot], *, evaluations: tuple[int, ...], names: tuple[str, ...] | None = None
) -> TrialTable:
    """Returns the table of the trials. `names`: the costs to compare; by default all that a trial has."""
    if names is None:
        # A trial has none before it is measured.
        names = max((tuple(item.costs) for item in snapshots), key=len, default=())
    known = [item for item in snapshots if len(item.losses) >= evaluations[0] and len(item.costs) >= len(names)]
    return TrialTable(
        names=names,
        evaluations=evaluations,
        number_T=np.array([item.number for item in known], dtype=np.int64),
        num_losses_T=np.array([len(item.losses) for item in known], dtype=np.int64),
        losses_TR=_losses_at([item.losses for item in known], evaluations),
        costs_TC=np.array([[item.costs[name] for name in names] for item in known]).reshape(len(known), len(names)),
        paused=np.flatnonzero([item.state == "paused" for item in known]),
        finished=np.flatnonzero([item.state == "complete" for item in known]),
    )


def _losses_at(losses: Sequence[tuple[float, ...]], evaluations: tuple[int, ...]) -> Array:
    """Returns the losses `[T, R]` after these evaluations, NaN where not reached. Every trial has at least one loss."""
    # Through one flat array: a loop over a thousand trials takes longer than the decision.
    flat = np.fromiter(chain.from_iterable(losses), dtype=np.float64)
    num_T = np.fromiter(map(len, losses), dtype=np.int64)
    index_R = np.array(evaluations) - 1
    flat_index_TR = (np.cumsum(num_T) - num_T)[:, None] + np.minimum(index_R, num_T[:, None] - 1)
    return np.where(index_R < num_T[:, None], flat[flat_index_TR], np.nan)
