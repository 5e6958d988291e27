"""A space-filling choice of candidates to measure, from which the costs of all others are predicted.

Axes: N candidates, F feature columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from depthweave.search.surrogate.candidates import Candidates, FloatArray


def space_filling_subset(candidates: Candidates, *, first: Sequence[int], count: int) -> list[int]:
    """Returns `count` rows: at most a third from `first`, then repeatedly the row farthest from all chosen ones.

    The distance is that of the encoding. Of several equally distant rows, the first is chosen.
    """
    points_NF = candidates.features_NF
    chosen = list(dict.fromkeys(first))[: math.ceil(count / 3)]
    if not chosen and count:
        chosen = [_nearest_to_mean(points_NF)]
    distance_N = np.full(len(points_NF), np.inf)
    for row in chosen:
        distance_N = np.minimum(distance_N, _squared_distances(points_NF, row))
    while len(chosen) < min(count, len(points_NF)):
        distance_N[chosen] = -1.0
        row = int(np.argmax(distance_N))
        chosen.append(row)
        distance_N = np.minimum(distance_N, _squared_distances(points_NF, row))
    return chosen


def _nearest_to_mean(points_NF: FloatArray) -> int:
    return int(np.square(points_NF - points_NF.mean(axis=0)).sum(axis=1).argmin())


def _squared_distances(points_NF: FloatArray, row: int) -> FloatArray:
    return np.asarray(np.square(points_NF - points_NF[row]).sum(axis=1))
