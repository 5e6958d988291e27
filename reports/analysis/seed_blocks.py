"""Losses of several architectures of one depth and budget, taken apart into architecture, seed and noise.

loss of architecture a with seed s = mu_a + c_s + noise, fitted by least squares. The seed's effect c_s (data order and
shared starts) is common to the architectures of one depth and budget and of no others: without it an architecture that
has only an easy seed would look better than one that has hard ones too.

Source: the randomised block design, seeds as blocks (Fisher, "The Design of Experiments", 1935).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Blocks(NamedTuple):
    """The fit of those architectures that have several seeds."""

    effects: dict[int, float]
    """Of each seed, nat/token, the first one's being zero; empty where they cannot be told from architectures."""
    residual: float
    """Sum of squares that the fit leaves, with `degrees` of freedom."""
    degrees: int


def fit_blocks(losses: Sequence[Mapping[int, float]]) -> Blocks:
    """The fit of losses by seed, an entry an architecture of one depth and budget."""
    held = [own for own in losses if len(own) > 1]
    seeds = sorted({seed for own in held for seed in own})
    cells = [(row, seeds.index(seed), loss) for row, own in enumerate(held) for seed, loss in own.items()]
    num_columns = len(held) + len(seeds) - 1
    if len(held) < 2 or len(cells) <= num_columns:
        return Blocks({}, 0.0, 0)
    design, observed = np.zeros((len(cells), num_columns)), np.array([loss for _, _, loss in cells])
    for cell, (row, seed, _) in enumerate(cells):
        design[cell, row] = 1.0
        if seed:
            design[cell, len(held) + seed - 1] = 1.0
    fitted, _, rank, _ = np.linalg.lstsq(design, observed, rcond=None)
    if rank < num_columns:
        return Blocks({}, 0.0, 0)
    effects = dict(zip(seeds, [0.0, *fitted[len(held) :].tolist()], strict=True))
    return Blocks(effects, float(((observed - design @ fitted) ** 2).sum()), len(cells) - num_columns)
