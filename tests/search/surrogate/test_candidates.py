"""The encoding of a space: the grid of a wiring equals a count of every connection."""

from __future__ import annotations

import numpy as np

from depthweave.search.parameters import Parameters
from depthweave.search.samplers import of_space
from depthweave.spaces.space import Axes, Candidate, enumerate_space


def _slow_grid(item: Candidate) -> list[float]:
    depth, wiring = item.architecture.depth, item.architecture.wiring
    wired = {(site.block, source) for site in wiring for source in site.sources}
    there, possible = np.zeros((3, 3)), np.zeros((3, 3))
    for block in range(1, depth + 1):
        for source in range(block + 1):
            cell = (block - 1) * 3 // depth, source * 3 // (depth + 1)
            possible[cell] += 1
            there[cell] += (block, source) in wired
    return [float(value) for value in np.sqrt(there / np.maximum(possible, 1.0)).ravel()]


def test_grid_of_a_wiring_is_the_share_of_connections_in_each_cell() -> None:
    axes = Axes(
        fusions=("none", "dwa", "dwatt"),
        dilations=(1, 2, 5),
        periods=(1, 3, "depth"),
        depths=(1, 2, 7, 12),
        budgets=(300_000,),
        vocabulary=256,
        context=64,
    )
    parameters = Parameters(enumerate_space(axes))
    found = of_space(parameters, objectives=("perplexity",)).features_NF[:, -9:]
    assert found.tolist() == [_slow_grid(parameters.space[item]) for item in parameters.architecture_ids]
