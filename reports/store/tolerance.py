"""Tolerances: the difference in each objective below which one value is no better than another.

A tolerance is relative: 0.02 of a latency of 0.50 is 0.01. One point covers another where it is at least as good within
tolerance in every objective. So a member of the front may cover another that is ahead by less than can be measured, and
many such members are one finding (`distinct`).

Axes: P points, Q others, O objectives.

Source: epsilon-dominance (Laumanns, Thiele, Deb and Zitzler, "Combining convergence and diversity in evolutionary
multiobjective optimization", 2002).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.store.objectives import OBJECTIVES, objective


def tolerances_of(objectives: Sequence[str], given: Mapping[str, float] | None = None) -> dict[str, float]:
    """Returns objective to tolerance: the given one, else the default."""
    return {name: (given or {}).get(name, OBJECTIVES[name].tolerance) for name in objectives}


def check_tolerance(name: str, value: float) -> float:
    """Returns the tolerance; raises `ValueError` where the objective is unknown or the value out of range."""
    objective(name)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"tolerance of {name} is {value!r:.60}: give a share from 0 to below 1, such as 0.02")
    return float(value)


def covered(
    points_PO: NDArray[np.float64], *, by_QO: NDArray[np.float64], tolerances_O: Sequence[float]
) -> NDArray[np.bool_]:
    """Returns for each point whether another one covers it, `[P]`.

    All objectives are minimised and above zero. A point that is also among the others covers itself.
    """
    if not len(by_QO):
        return np.zeros(len(points_PO), dtype=np.bool_)
    return np.asarray(covers(by_QO, points_PO, tolerances_O=tolerances_O).any(axis=0), dtype=np.bool_)


def tolerance_text(objectives: Sequence[str], tolerances: Mapping[str, float] | None = None) -> str:
    """Returns the tolerances for a reader: "perplexity 0.5 %, latency 2 %"."""
    by_objective = tolerances_of(objectives, tolerances)
    return ", ".join(f"{name.replace('_', ' ')} {100 * value:.3g} %" for name, value in by_objective.items())


def covers(
    first_PO: NDArray[np.float64], second_QO: NDArray[np.float64], *, tolerances_O: Sequence[float]
) -> NDArray[np.bool_]:
    """Returns whether each first point covers each second one, `[P, Q]`."""
    bounds_QO = second_QO * (1 + np.asarray(tolerances_O))
    return np.asarray((first_PO[:, None, :] <= bounds_QO[None]).all(axis=2), dtype=np.bool_)
