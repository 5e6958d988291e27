"""Expected hypervolume improvement in closed form, for known costs and an uncertain loss.

The costs of the front divide the cost space into boxes. In each box the lowest attained loss is that of one front
member. A candidate can improve on the part of a box that costs at least as much as itself. So its expected hypervolume
improvement is a sum over front members: a volume, known exactly, times the expected improvement over the member's loss.
With one cost the boxes are intervals. Samplers and pruners use the same function.

Axes: N candidates, F front members, C costs, L levels of loss (those of the members and of the reference point).

Source: the sum over cells is Emmerich, Giannakoglou and Naujoks (2006), doi 10.1109/TEVC.2005.859463, section IV, with
all objectives but one deterministic; expected improvement is Jones, Schonlau and Welch (1998), equation 15.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MAX_CELLS = 4_000_000
"""Of levels times boxes. For a larger number, as with three and more costs, the front's costs are thinned out."""


def hypervolume_improvement(
    improvement: Callable[[FloatArray], FloatArray],
    costs_NC: FloatArray,
    *,
    front_losses_F: FloatArray,
    front_costs_FC: FloatArray,
    reference_O: FloatArray,
) -> FloatArray:
    """Returns the expected hypervolume `[N]` that each candidate alone adds to the front.

    `improvement` maps levels `[L]` to the expected improvement `[N, L]` of each candidate's loss over each level.
    `reference_O` is the reference point, the loss first; all objectives are minimised.
    """
    levels_L, volumes_NL = _volumes(
        costs_NC, front_losses_F=front_losses_F, front_costs_FC=front_costs_FC, reference_O=reference_O
    )
    return np.asarray((volumes_NL * improvement(levels_L)).sum(axis=1))


def normal_improvement(mean_N: FloatArray, sd_N: FloatArray, levels_L: FloatArray) -> FloatArray:
    """Returns the expected improvement `[N, L]` of normal losses over each level."""
    gap_NL = levels_L - mean_N[:, None]
    sd_N1 = np.maximum(sd_N[:, None], 1e-12)
    z_NL = gap_NL / sd_N1
    density_NL = np.exp(-0.5 * z_NL * z_NL) / math.sqrt(2.0 * math.pi)
    return np.asarray(np.maximum(gap_NL * normal_cdf(z_NL) + sd_N1 * density_NL, 0.0))


def lognormal_improvement(mean_N: FloatArray, sd_N: FloatArray, levels_L: FloatArray) -> FloatArray:
    """Returns the same for losses whose logarithms are normal with these parameters; levels are above 0."""
    sd_N1 = np.maximum(sd_N[:, None], 1e-12)
    z_NL = (np.log(np.maximum(levels_L, 1e-300)) - mean_N[:, None]) / sd_N1
    below_NL = np.exp(mean_N[:, None] + 0.5 * sd_N1**2) * normal_cdf(z_NL - sd_N1)
    return np.asarray(np.maximum(levels_L * normal_cdf(z_NL) - below_NL, 0.0))


def normal_cdf(z: FloatArray) -> FloatArray:
    """Returns the standard normal distribution function. NumPy has none, and torch is installed."""
    return np.asarray(torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(z, dtype=np.float64))).numpy())


def _volumes(
    costs_NC: FloatArray, *, front_losses_F: FloatArray, front_costs_FC: FloatArray, reference_O: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Returns levels `[L]`, and the volume `[N, L]` of costs above the candidate's where a level is the lowest loss.

    Within a box the volume is linear in each cost, so interpolating between the corners of the boxes is exact.
    """
    levels_L = np.unique(np.append(np.minimum(front_losses_F, reference_O[0]), reference_O[0]))
    edges_C = _edges(costs_NC, front_costs_FC, reference_O[1:], num_levels=len(levels_L))
    shape = tuple(len(edges) - 1 for edges in edges_C)
    corners = np.meshgrid(*(edges[:-1] for edges in edges_C), indexing="ij")
    lowest = np.full(shape, reference_O[0])
    for loss, costs_C in zip(front_losses_F, front_costs_FC, strict=True):
        above = np.logical_and.reduce([corner >= cost for corner, cost in zip(corners, costs_C, strict=True)])
        np.minimum(lowest, loss, out=lowest, where=above)
    sizes = np.ones(shape)
    for axis, edges in enumerate(edges_C):
        sizes *= np.diff(edges).reshape([-1 if other == axis else 1 for other in range(len(shape))])
    table = np.where(lowest == levels_L.reshape(-1, *[1] * len(shape)), sizes, 0.0)
    for axis in range(1, table.ndim):
        # Sums from each corner to the far end, which is 0 itself.
        table = np.flip(np.cumsum(np.flip(table, axis), axis=axis), axis)
        table = np.concatenate([table, np.zeros_like(np.take(table, [0], axis=axis))], axis=axis)
    return levels_L, _interpolated(table, edges_C, costs_NC)


def _edges(
    costs_NC: FloatArray, front_costs_FC: FloatArray, worst_C: FloatArray, *, num_levels: int
) -> list[FloatArray]:
    """Returns the edges of the boxes along each cost."""
    num_costs = costs_NC.shape[1]
    max_edges = max(2, int((_MAX_CELLS / num_levels) ** (1.0 / max(1, num_costs))) - 2)
    found = []
    for axis in range(num_costs):
        inner = np.unique(front_costs_FC[:, axis])
        if len(inner) > max_edges:
            inner = inner[np.unique(np.linspace(0, len(inner) - 1, max_edges).round().astype(int))]
        least = min(float(costs_NC[:, axis].min()), float(inner.min(initial=np.inf)))
        edges = np.unique(np.concatenate([[least], inner, [worst_C[axis]]]))
        edges = edges[edges <= worst_C[axis]]
        # Candidates beyond the reference point add nothing. A box needs two edges.
        found.append(edges if len(edges) > 1 else np.array([worst_C[axis] - 1.0, worst_C[axis]]))
    return found


def _interpolated(table: FloatArray, edges_C: list[FloatArray], costs_NC: FloatArray) -> FloatArray:
    """Returns the table's values at the candidates' costs, by multilinear interpolation."""
    cells, shares = [], []
    for axis, edges in enumerate(edges_C):
        cost_N = np.clip(costs_NC[:, axis], edges[0], edges[-1])
        cell_N = np.clip(np.searchsorted(edges, cost_N, side="right") - 1, 0, len(edges) - 2)
        cells.append(cell_N)
        shares.append((cost_N - edges[cell_N]) / (edges[cell_N + 1] - edges[cell_N]))
    volumes_LN = np.zeros((len(table), len(costs_NC)))
    for corner in product((0, 1), repeat=len(edges_C)):
        weight_N = np.ones(len(costs_NC))
        for share_N, end in zip(shares, corner, strict=True):
            weight_N = weight_N * (share_N if end else 1.0 - share_N)
        index: tuple[Any, ...] = tuple(cell + end for cell, end in zip(cells, corner, strict=True))
        at = table[(slice(None), *index)]
        # Without costs there is one box, the same for all candidates.
        volumes_LN += weight_N * at.reshape(len(table), -1)
    return np.asarray(volumes_LN.T)
