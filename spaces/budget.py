"""Parameter budgets: sizes that meet a wanted number of parameters, the same width for every fusion.

Within a (depth, budget) the width is that of the plain transformer. The parameters that a fusion adds are taken from
the feed-forward width only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import GPT, BlockStyle, whole_heads
from depthweave.spaces.costs import parameters_of
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.widths import (
    MIN_RATIO,
    PLAIN_RATIO,
    TOLERANCE_FRAC,
    TOLERANCE_PARTS,
    Sizing,
    fitting_feed_forward,
    plain_width,
)
from depthweave.spaces.wiring import Wiring

_MAX_WIDENINGS = 200
_MAX_WIDTH = 2**20
"""Limits of the search for the smallest budget that can be met; without one the widths grow by a constant factor."""


class BudgetError(ValueError):
    """No sizes meet the budget; the message names the smallest larger budget that can be met."""

    def __init__(self, message: str, *, enough: int | None = None) -> None:
        super().__init__(message)
        self.enough = enough
        """The budget that the message names; `None` if none can be met."""


def resolve(
    *,
    fusion: str,
    wiring: Wiring,
    budget: int,
    vocabulary: int,
    context: int,
    head_width: int = 32,
    width: int | None = None,
    sizing: Sizing = "ratio",
    block: BlockStyle = GPT,
) -> Architecture:
    """Returns the architecture of that fusion and wiring whose parameters meet the budget within `TOLERANCE_FRAC`.

    `width` is derived from depth and budget if it is `None`. Raises `BudgetError` if no feed-forward width of at least
    the width meets it.
    """
    if budget < 1:
        raise BudgetError(f"budget is {budget}: it must be a number of parameters, at least 1")
    if head_width < 2 or head_width % 2:
        raise ValueError(f"head_width is {head_width}: it must be an even number of at least 2")
    derived = width is None
    if width is None:
        width = plain_width(depth=wiring.depth, budget=budget, head_width=head_width, sizing=sizing, block=block)
    if width < 1 or width % head_width:
        raise ValueError(f"width is {width} with a head_width of {head_width}: it must be a multiple of that")
    if fault := whole_heads(width, head_width=head_width, style=block):
        raise ValueError(f"width is {width}: {fault}")
    wiring = fusion_class(fusion).canonical_wiring(wiring)
    smallest, unit = block.feed_forward(gpt_ratio=MIN_RATIO, width=width), block.unit(width) * wiring.depth
    parameters = parameters_of(fusion, wiring, width=width, feed_forward=smallest, head_width=head_width, block=block)
    feed_forward = fitting_feed_forward(
        budget=budget, smallest=smallest, parameters=parameters, unit=unit, sizing=sizing
    )
    if feed_forward is None:
        size = f"{wiring.num_connections} connections on {wiring.depth} blocks of width {width}"
        given = f"{fusion} with {size} cannot have {budget:,} parameters"
        if budget >= parameters:
            raise _between(given, nearest=parameters + round((budget - parameters) / unit) * unit)
        enough: int | None = _enough(parameters, sizing=sizing)
        if derived:
            enough = _smallest_derived_budget(_Family(fusion, wiring, head_width, sizing, block), width)
        raise _too_small(given, enough=enough)
    return Architecture(
        fusion=fusion,
        wiring=wiring,
        width=width,
        heads=width // head_width,
        feed_forward=feed_forward,
        vocabulary=vocabulary,
        context=context,
        block=block,
    )


class _Family(NamedTuple):
    """Architectures that differ in their width only."""

    fusion: str
    wiring: Wiring
    """Canonical."""
    head_width: int
    sizing: Sizing
    block: BlockStyle

    def smallest_budget(self, width: int) -> int:
        """Returns the smallest budget that can be met with that width."""
        parameters = parameters_of(
            self.fusion,
            self.wiring,
            width=width,
            feed_forward=self.block.feed_forward(gpt_ratio=MIN_RATIO, width=width),
            head_width=self.head_width,
            block=self.block,
        )
        return _enough(parameters, sizing=self.sizing)


def _between(given: str, *, nearest: int) -> BudgetError:
    message = f"{given} within {TOLERANCE_FRAC:.0%}: the nearest budget that can be met is {nearest:,}"
    return BudgetError(message, enough=nearest)


def _too_small(given: str, *, enough: int | None) -> BudgetError:
    if enough is None:
        return BudgetError(f"{given}, nor can a larger budget be met: take fewer connections (dilation, period)")
    return BudgetError(f"{given}: the smallest larger budget that can be met is {enough:,}", enough=enough)


def _enough(parameters: int, *, sizing: Sizing) -> int:
    """Returns the smallest budget that this number of parameters meets."""
    if sizing == "nearest":
        return parameters
    return -(-parameters * TOLERANCE_PARTS // (TOLERANCE_PARTS + 1))


def _smallest_derived_budget(family: _Family, width: int) -> int | None:
    """Returns the smallest budget that can be met if the width is derived from it; `width` is where the search starts.

    A larger budget derives a larger width, which needs more parameters again. So the result is the smallest fixed
    point. There is none, and the result is `None`, if the fusion grows as fast as the blocks.
    """
    _, wiring, head_width, sizing, block = family
    hopeless = _hopeless_width(family)
    for _ in range(_MAX_WIDENINGS):
        if hopeless < width <= _MAX_WIDTH:
            return None
        enough = family.smallest_budget(width)
        wider = plain_width(depth=wiring.depth, budget=enough, head_width=head_width, sizing=sizing, block=block)
        if wider == width:
            return enough
        width = wider
        if width > _MAX_WIDTH:
            return None
    return None


def _hopeless_width(family: _Family) -> float:
    """Returns a width above which there is no fixed point up to `_MAX_WIDTH`; infinite if no such width is known.

    Parameters over squared width do not rise with the width (a contract of fusions), so they are never below their
    value at `_MAX_WIDTH`. If the budget of that many parameters derives a width that is wider by a factor, the derived
    width stays above the width from the point where the difference exceeds rounding. Rounding removes at most two and a
    half heads, or groups of heads that share keys and values.
    """
    enough, block = family.smallest_budget(_MAX_WIDTH), family.block
    ideal = math.sqrt(enough / (family.wiring.depth * block.squared_widths(PLAIN_RATIO)))
    growth = ideal / _MAX_WIDTH - 1.0
    return 3.0 * family.head_width * block.heads_per_kv / growth if growth > 0.0 else math.inf
