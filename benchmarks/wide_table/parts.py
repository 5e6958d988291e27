"""The parts of the table: which architectures, at which size, on which text."""

from __future__ import annotations

import dataclasses
from functools import cache as once

from depthweave.spaces.space import Axes, SearchSpace, enumerate_space
from depthweave.trainers import Recipe

SEEDS = (0, 1)
FUSIONS = (
    *("none", "dwa", "dwatt", "concat", "mudd", "mudd2", "mudd4", "attnres", "hc2", "dhc2", "mhc2", "gated2"),
    "value_residual",
)
WIRINGS = ("1x1", "2x1", "4x1", "1x2", "1x4", "4x4", "1xdepth", "first:2", "window:3", "pow2", "mirror", "embed")
RECIPE = Recipe(steps=1075, precision="float32", batch=16, context=128, num_evaluations=10, evaluation_tokens=65_536)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The architectures of one size on one text."""

    wirings: tuple[str, ...]
    budget: int = 100_000
    steps: int = RECIPE.steps
    """Twenty tokens a parameter at least, the embedding included."""
    english: bool = False

    @property
    def axes(self) -> Axes:
        """The axes of the part's space."""
        return Axes(
            fusions=FUSIONS,
            dilations=(),
            periods=(),
            wirings=self.wirings,
            depths=(6, 12),
            budgets=(self.budget,),
            vocabulary=256,
            context=RECIPE.context,
            head_width=16,
        )

    @property
    def recipe(self) -> Recipe:
        """How its architectures are trained; seed and learning rate vary."""
        return dataclasses.replace(RECIPE, steps=self.steps)


PARTS = {
    "small": Part(wirings=WIRINGS),
    "large": Part(wirings=("1x1", "1x4", "first:2"), budget=200_000, steps=2 * RECIPE.steps),
    "english": Part(wirings=("1x1", "first:2"), english=True),
}


@once
def space(part: str) -> SearchSpace:
    """Returns the space of a part."""
    return enumerate_space(PARTS[part].axes)
