"""Splits the losses of several architectures of one depth and budget into architecture, seed and noise.

loss of architecture a with seed s = mu_a + c_s + noise, fitted by least squares. The seed's effect c_s (data order and
shared first weights) is common to the architectures of one depth and budget only. Without it an architecture with an
easy seed alone would look better than one with hard seeds too.

Source: the randomised block design, seeds as blocks (Fisher, "The Design of Experiments", 1935).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Blocks(NamedTuple):
    """The fit of the architectures with several seeds."""

    effects: dict[int, float]
    """Effect of each seed, nat/token, zero for the first one; empty where the data do not determine them."""
    residual: float
    """Residual sum of squares, with `degrees` of freedom."""
    degrees: int


def fit_blocks(losses: Sequence[Mapping[int, float]]) -> Blocks:
    """Returns the fit. `losses` holds the losses by seed of each architecture of one depth and budget."""
    several = [own for own in losses if len(own) > 1]
    seeds = sorted({seed for own in several for seed in own})
    cells = [(row, seeds.index(seed), loss) for row, own in enumerate(several) for seed, loss in own.items()]
    num_columns = len(several) + len(seeds) - 1
    if len(several) < 2 or len(cells) <= num_columns:
        return Blocks({}, 0.0, 0)
    design, observed = np.zeros((len(cells), num_columns)), np.array([loss for _, _, loss in cells])
    for cell, (row, seed, _) in enumerate(cells):
        design[cell, row] = 1.0
        if seed:
            design[cell, len(several) + seed - 1] = 1.0
    fitted, _, rank, _ = np.linalg.lstsq(design, observed, rcond=None)
    if rank < num_columns:
        return Blocks({}, 0.0, 0)
    effects = dict(zip(seeds, [0.0, *fitted[len(several) :].tolist()], strict=True))
    return Blocks(effects, float(((observed - design @ fitted) ** 2).sum()), len(cells) - num_columns)
