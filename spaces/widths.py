"""Widths of states for a depth and a budget, and of feed-forward layers for the remaining parameters.

The width is the same for every fusion of a (depth, budget). Rounding it to whole heads moves the plain transformer's
feed-forward layers away from four widths. If that is far, depths of one budget differ in shape as much as in depth.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

from depthweave.spaces.block_style import GPT, BlockStyle

Sizing = Literal["ratio", "nearest"]
"""How sizes are chosen: by the plain transformer's feed-forward ratio, or by the width nearest to the ideal one.

`nearest` is the rule of earlier runs. It also refuses the smallest feed-forward layers if they exceed the budget by
any amount.
"""

PLAIN_RATIO = 4
"""Ideal feed-forward width of the plain transformer, in widths. All ratios here are those of `gpt` blocks; a style with
more matrices has smaller ones of as many parameters (`BlockStyle.ratio`)."""
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
def plain_width(*, depth: int, budget: int, head_width: int, sizing: Sizing = "ratio", block: BlockStyle = GPT) -> int:
    """Returns the width of every architecture of that depth and budget, a multiple of `head_width`.

    It is also a multiple for each group of heads that share keys and values.

    With `ratio`, widths that give the plain transformer a feed-forward ratio between `MIN_PLAIN_RATIO` and
    `MAX_PLAIN_RATIO` come first. Among them, or among all if there are none, the ratio nearest to `PLAIN_RATIO` as a
    factor wins.
    """
    ideal = math.sqrt(budget / (depth * block.squared_widths(PLAIN_RATIO)))
    multiple = head_width * block.heads_per_kv
    nearest = max(1, round(ideal / multiple))
    if sizing == "nearest":
        return nearest * multiple
    # The ratio falls as the width grows, so the best width is next to the ideal one, on either side. The norms of very
    # narrow models, which the ideal width ignores, lower it by one more.
    near = [number * multiple for number in range(max(1, nearest - 2), nearest + 2)]
    return min(near, key=lambda width: _distance(depth, budget, width, head_width, block))


def plain_parameters(*, depth: int, width: int, feed_forward: int, head_width: int, block: BlockStyle = GPT) -> int:
    """Returns the parameters of the plain transformer, without the token embedding."""
    return depth * block.parameters(width=width, feed_forward=feed_forward, head_width=head_width) + width


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


def is_usual_ratio(ratio: float, *, block: BlockStyle) -> bool:
    """Whether the plain transformer has a usual shape."""
    return block.ratio(MIN_PLAIN_RATIO) <= ratio <= block.ratio(MAX_PLAIN_RATIO)


def _distance(depth: int, budget: int, width: int, head_width: int, block: BlockStyle) -> tuple[bool, bool, float]:
    """Returns a sort key, smallest for the best width: whether it is infeasible, unusual, how far from the ideal."""
    smallest = block.feed_forward(gpt_ratio=MIN_RATIO, width=width)
    feed_forward = fitting_feed_forward(
        budget=budget,
        smallest=smallest,
        parameters=plain_parameters(
            depth=depth, width=width, feed_forward=smallest, head_width=head_width, block=block
        ),
        unit=block.unit(width) * depth,
    )
    if feed_forward is None:
        return True, True, width
    ratio = feed_forward / width
    return False, not is_usual_ratio(ratio, block=block), abs(math.log(ratio / block.ratio(PLAIN_RATIO)))
