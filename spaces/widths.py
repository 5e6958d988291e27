"""Widths of states for a depth and a budget, and of feed-forward layers for the remaining parameters.

The width is the same for every fusion of a (depth, budget). Rounding it to whole heads moves the plain transformer's
feed-forward layers away from four widths. If that is far, depths of one budget differ in shape as much as in depth.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

Sizing = Literal["ratio", "nearest"]
"""How sizes are chosen: by the plain transformer's feed-forward ratio, or by the width nearest to the ideal one.

`nearest` is the rule of earlier runs. It also refuses the smallest feed-forward layers if they exceed the budget by
any amount.
"""

PLAIN_RATIO = 4
"""Ideal feed-forward width of the plain transformer, in widths."""
MIN_PLAIN_RATIO = 2
MAX_PLAIN_RATIO = 5
"""Between these two the plain transformer has a usual shape."""
MIN_RATIO = 1
"""Smallest accepted ratio of feed-forward width to width: below it an architecture is another kind of model."""

TOLERANCE_PARTS = 100
TOLERANCE_FRAC = 1 / TOLERANCE_PARTS
"""A budget is met if the parameters are this close to it, the limit included."""

_MULTIPLES = (64, 32, 16, 8, 4, 2, 1)
"""Multiples of feed-forward widths to try, the fastest on hardware first."""
_ROUNDING_FRAC = 0.004
"""A multiple above 1 is taken if it leaves the parameters this close to the budget."""


@lru_cache(maxsize=4096)
def plain_width(*, depth: int, budget: int, head_width: int, sizing: Sizing = "ratio") -> int:
    """Returns the width of every architecture of that depth and budget, a multiple of `head_width`.

    With `ratio`, widths that give the plain transformer a feed-forward ratio between `MIN_PLAIN_RATIO` and
    `MAX_PLAIN_RATIO` come first. Among them, or among all if there are none, the ratio nearest to `PLAIN_RATIO` as a
    factor wins.
    """
    ideal = math.sqrt(budget / (depth * (4 + 2 * PLAIN_RATIO)))
    nearest = max(1, round(ideal / head_width))
    if sizing == "nearest":
        return nearest * head_width
    # The ratio falls as the width grows, so the best width is next to the ideal one, on either side. The norms of very
    # narrow models, which the ideal width ignores, lower it by one more.
    near = [heads * head_width for heads in range(max(1, nearest - 2), nearest + 2)]
    return min(near, key=lambda width: _distance(depth=depth, budget=budget, width=width))


def plain_parameters(*, depth: int, width: int, feed_forward: int) -> int:
    """Returns the parameters of the plain transformer, without the token embedding."""
    block = 4 * width**2 + 2 * width * feed_forward + 2 * width
    return depth * block + width


def fitting_feed_forward(
    *, budget: int, smallest: int, parameters: int, unit: int, sizing: Sizing = "ratio"
) -> int | None:
    """Returns the feed-forward width, at least `smallest`, that meets the budget within `TOLERANCE_FRAC`, or `None`.

    `parameters` is the number with `smallest`, `unit` the increase with each further hidden unit.
    """
    wanted = smallest + (budget - parameters) / unit
    for multiple in _MULTIPLES:
        feed_forward = round(wanted / multiple) * multiple
        off = abs(feed_forward - wanted) * unit / budget
        if feed_forward >= smallest and off <= (_ROUNDING_FRAC if multiple > 1 else TOLERANCE_FRAC):
            return feed_forward
    closest = max(smallest, round(wanted))
    # In integers, so that the limit itself is inside.
    is_met = TOLERANCE_PARTS * abs(parameters + (closest - smallest) * unit - budget) <= budget
    return closest if is_met and sizing == "ratio" else None


def _distance(*, depth: int, budget: int, width: int) -> tuple[bool, bool, float]:
    """Returns a sort key, smallest for the best width: whether it is infeasible, unusual, how far from the ideal."""
    smallest = MIN_RATIO * width
    feed_forward = fitting_feed_forward(
        budget=budget,
        smallest=smallest,
        parameters=plain_parameters(depth=depth, width=width, feed_forward=smallest),
        unit=2 * width * depth,
    )
    if feed_forward is None:
        return True, True, width
    ratio = feed_forward / width
    return False, not MIN_PLAIN_RATIO <= ratio <= MAX_PLAIN_RATIO, abs(math.log(ratio / PLAIN_RATIO))
