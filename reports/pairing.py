"""Losses of several architectures with several seeds, taken apart into architecture, seed and noise.

loss of architecture a with seed s = mu_a + c_s + noise, fitted by least squares. The seed's effect c_s (first weights
and data order) is common to all architectures of that seed, which is what pairing means: without it an architecture
that has only an easy seed would look better than one that has hard ones too.

Source: the randomised block design, seeds as blocks (Fisher, "The Design of Experiments", 1935).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Blocks(NamedTuple):
    """The fit of those architectures that have several seeds. Axes: A of these, S seeds less one, P = A + S."""

    rows: list[int]
    """Places of these architectures in what was given."""
    seeds: list[int]
    """Rising; effects are counted from the first one's. One alone where effects cannot be told from architectures."""
    fitted: NDArray[np.float64]
    """`[P]`: mu of each architecture, then the effect of each seed but the first."""
    covariance: NDArray[np.float64]
    """`[P, P]`, in units of the noise's variance."""
    residual: float
    """Sum of squares that the fit leaves, with `degrees` of freedom."""
    degrees: int


def fit_blocks(losses: Sequence[Mapping[int, float]]) -> Blocks | None:
    """The fit of losses by seed, an entry an architecture; `None` where none has several seeds."""
    rows = [row for row, own in enumerate(losses) if len(own) > 1]
    if not rows:
        return None
    seeds = sorted({seed for row in rows for seed in losses[row]})
    cells = [(place, seeds.index(seed), loss) for place, row in enumerate(rows) for seed, loss in losses[row].items()]
    observed = np.array([loss for _, _, loss in cells])
    design = np.zeros((len(cells), len(rows) + len(seeds) - 1))
    for cell, (place, seed, _) in enumerate(cells):
        design[cell, place] = 1.0
        if seed:
            design[cell, len(rows) + seed - 1] = 1.0
    if len(cells) == design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        # One architecture alone, say: all is noise.
        design, seeds = design[:, : len(rows)], seeds[:1]
    fitted, _, _, _ = np.linalg.lstsq(design, observed, rcond=None)
    return Blocks(
        rows=rows,
        seeds=seeds,
        fitted=fitted,
        covariance=np.asarray(np.linalg.inv(design.T @ design), dtype=np.float64),
        residual=float(((observed - design @ fitted) ** 2).sum()),
        degrees=len(cells) - design.shape[1],
    )


def seed_effects(losses: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Seed to its effect, nat/token, against the mean of all seeds; empty where effects cannot be told."""
    blocks = fit_blocks(losses)
    if blocks is None or len(blocks.seeds) < 2:
        return {}
    effects = np.r_[0.0, blocks.fitted[len(blocks.rows) :]]
    return dict(zip(blocks.seeds, (effects - effects.mean()).tolist(), strict=True))
