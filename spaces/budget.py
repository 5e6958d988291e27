"""Parameter budgets: sizes that meet a wanted number of parameters, the same width for every fusion.

Within a (depth, budget) the width is that of the plain transformer whose feed-forward layers are four times as wide;
whatever a fusion adds is taken from the feed-forward width alone.
"""

from __future__ import annotations

import math
from dataclasses import replace

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import num_parameters
from depthweave.spaces.wiring import Wiring

TOLERANCE_FRAC = 0.01
"""A budget is met where the parameters are this close to it."""

_PLAIN_RATIO = 4
"""Feed-forward width of the plain transformer, in widths."""
_MIN_RATIO = 1
"""Below this ratio of feed-forward width to width an architecture is another kind of model, and refused."""
_MULTIPLES = (64, 32, 16, 8, 4, 2, 1)
"""Feed-forward widths to try, kindest to the hardware first."""
_ROUNDING_FRAC = 0.004
"""A kind multiple is taken where it leaves the parameters this close to the budget."""


_MAX_WIDENINGS = 200
"""Widths to try for the smallest budget that can be met; where none can, they grow by a constant factor."""


class BudgetError(ValueError):
    """No sizes meet the budget; the message names the smallest larger budget that can be met."""

    def __init__(self, message: str, *, enough: int | None = None) -> None:
        super().__init__(message)
        self.enough = enough
        """The budget that the message names; `None` where none can be met."""


def plain_width(*, depth: int, budget: int, head_width: int) -> int:
    """The width, a multiple of `head_width`, of the plain transformer nearest to the budget."""
    ideal = math.sqrt(budget / (depth * (4 + 2 * _PLAIN_RATIO)))
    return max(1, round(ideal / head_width)) * head_width


def resolve(
    *,
    fusion: str,
    wiring: Wiring,
    budget: int,
    vocabulary: int,
    context: int,
    head_width: int = 32,
    width: int | None = None,
) -> Architecture:
    """The architecture of that fusion and wiring whose parameters meet the budget within `TOLERANCE_FRAC`.

    `width` is derived from depth and budget where it is `None`. Raises `BudgetError` where no feed-forward width of at
    least the width meets it.
    """
    if budget < 1:
        raise BudgetError(f"budget is {budget}: it must be a number of parameters, at least 1")
    if head_width < 2 or head_width % 2:
        raise ValueError(f"head_width is {head_width}: it must be an even number of at least 2")
    derived = width is None
    if width is None:
        width = plain_width(depth=wiring.depth, budget=budget, head_width=head_width)
    if width % head_width:
        raise ValueError(f"width is {width} with a head_width of {head_width}: it must be a multiple of that")
    smallest = Architecture(
        fusion=fusion,
        wiring=wiring,
        width=width,
        heads=width // head_width,
        feed_forward=_MIN_RATIO * width,
        vocabulary=vocabulary,
        context=context,
    )
    a_unit = 2 * width * wiring.depth
    least = num_parameters(smallest)
    wanted = smallest.feed_forward + (budget - least) / a_unit
    for multiple in _MULTIPLES:
        feed_forward = round(wanted / multiple) * multiple
        off = abs(feed_forward - wanted) * a_unit / budget
        if feed_forward >= smallest.feed_forward and off <= (_ROUNDING_FRAC if multiple > 1 else TOLERANCE_FRAC):
            return replace(smallest, feed_forward=feed_forward)
    given = (
        f"{fusion} with {smallest.wiring.num_connections} connections on {wiring.depth} blocks of width {width} "
        f"cannot have {budget:,} parameters"
    )
    if wanted >= smallest.feed_forward:
        nearest = least + round(wanted - smallest.feed_forward) * a_unit
        raise BudgetError(
            f"{given} within {TOLERANCE_FRAC:.0%}: the nearest budget that can be met is {nearest:,}", enough=nearest
        )
    enough = _smallest_derived_budget(smallest) if derived else least
    if enough is None:
        raise BudgetError(f"{given}, nor can a larger budget be met: take fewer connections (dilation, period)")
    raise BudgetError(f"{given}: the smallest larger budget that can be met is {enough:,}", enough=enough)


def _smallest_derived_budget(smallest: Architecture) -> int | None:
    """The smallest budget that can be met, the width growing with it, from one that `smallest` exceeds on.

    A larger budget derives a larger width, which costs more again: the answer is the smallest fixed point, and `None`
    where the fusion grows as fast as the blocks do and there is none.
    """
    head_width = smallest.width // smallest.heads
    for _ in range(_MAX_WIDENINGS):
        least = num_parameters(smallest)
        width = plain_width(depth=smallest.depth, budget=least, head_width=head_width)
        if width == smallest.width:
            return least
        smallest = replace(smallest, width=width, heads=width // head_width, feed_forward=_MIN_RATIO * width)
    return None
