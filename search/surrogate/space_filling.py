"""Which candidates to measure so that the costs of all others can be predicted: some that lie far apart.

Axes: N candidates, F feature columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from depthweave.search.surrogate.candidates import Candidates, FloatArray


def space_filling_subset(candidates: Candidates, *, first: Sequence[int], count: int) -> list[int]:
    """`count` rows: of `first` at most a third as many, then one after the other the row farthest from all before it.

    The distance is that of the encoding. Of several rows as far the first is taken.
    """
    points_NF = candidates.features_NF
    chosen = list(dict.fromkeys(first))[: math.ceil(count / 3)]
    if not chosen and count:
        chosen = [_nearest_to_middle(points_NF)]
    away_N = np.full(len(points_NF), np.inf)
    for row in chosen:
        away_N = np.minimum(away_N, _squared(points_NF, row))
    while len(chosen) < min(count, len(points_NF)):
        away_N[chosen] = -1.0
        row = int(np.argmax(away_N))
        chosen.append(row)
        away_N = np.minimum(away_N, _squared(points_NF, row))
    return chosen


def _nearest_to_middle(points_NF: FloatArray) -> int:
    return int(np.square(points_NF - points_NF.mean(axis=0)).sum(axis=1).argmin())


def _squared(points_NF: FloatArray, row: int) -> FloatArray:
    return np.asarray(np.square(points_NF - points_NF[row]).sum(axis=1))
