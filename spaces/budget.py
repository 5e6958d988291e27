"""Parameter budgets: sizes that meet a wanted number of parameters, the same width for every fusion.

Within a (depth, budget) the width is that of the plain transformer. The parameters that a fusion adds are taken from
the feed-forward width only.
"""

from __future__ import annotations

import math

from depthweave.spaces.architecture import Architecture
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
        width = plain_width(depth=wiring.depth, budget=budget, head_width=head_width, sizing=sizing)
    if width < 1 or width % head_width:
        raise ValueError(f"width is {width} with a head_width of {head_width}: it must be a multiple of that")
    wiring = fusion_class(fusion).canonical_wiring(wiring)
    parameters, unit = _smallest_parameters(fusion, wiring, width), 2 * width * wiring.depth
    feed_forward = fitting_feed_forward(
        budget=budget, smallest=MIN_RATIO * width, parameters=parameters, unit=unit, sizing=sizing
    )
    if feed_forward is None:
        size = f"{wiring.num_connections} connections on {wiring.depth} blocks of width {width}"
        given = f"{fusion} with {size} cannot have {budget:,} parameters"
        if budget >= parameters:
            raise _between(given, nearest=parameters + round((budget - parameters) / unit) * unit)
        enough: int | None = _enough(parameters, sizing=sizing)
        if derived:
            enough = _smallest_derived_budget(fusion, wiring, width, head_width, sizing)
        raise _too_small(given, enough=enough)
    return Architecture(
        fusion=fusion,
        wiring=wiring,
        width=width,
        heads=width // head_width,
        feed_forward=feed_forward,
        vocabulary=vocabulary,
        context=context,
    )


def _between(given: str, *, nearest: int) -> BudgetError:
    message = f"{given} within {TOLERANCE_FRAC:.0%}: the nearest budget that can be met is {nearest:,}"
    return BudgetError(message, enough=nearest)


def _too_small(given: str, *, enough: int | None) -> BudgetError:
    if enough is None:
        return BudgetError(f"{given}, nor can a larger budget be met: take fewer connections (dilation, period)")
    return BudgetError(f"{given}: the smallest larger budget that can be met is {enough:,}", enough=enough)


def _smallest_parameters(fusion: str, wiring: Wiring, width: int) -> int:
    """Returns the parameters with the smallest feed-forward layers; `wiring` is canonical."""
    return parameters_of(fusion, wiring, width=width, feed_forward=MIN_RATIO * width)


def _enough(parameters: int, *, sizing: Sizing) -> int:
    """Returns the smallest budget that this number of parameters meets."""
    if sizing == "nearest":
        return parameters
    return -(-parameters * TOLERANCE_PARTS // (TOLERANCE_PARTS + 1))


def _smallest_derived_budget(fusion: str, wiring: Wiring, width: int, head_width: int, sizing: Sizing) -> int | None:
    """Returns the smallest budget that can be met if the width is derived from it; `width` is where the search starts.

    A larger budget derives a larger width, which needs more parameters again. So the result is the smallest fixed
    point. There is none, and the result is `None`, if the fusion grows as fast as the blocks.
    """
    hopeless = _hopeless_width(fusion, wiring, head_width, sizing)
    for _ in range(_MAX_WIDENINGS):
        if hopeless < width <= _MAX_WIDTH:
            return None
        enough = _enough(_smallest_parameters(fusion, wiring, width), sizing=sizing)
        wider = plain_width(depth=wiring.depth, budget=enough, head_width=head_width, sizing=sizing)
        if wider == width:
            return enough
        width = wider
        if width > _MAX_WIDTH:
            return None
    return None


def _hopeless_width(fusion: str, wiring: Wiring, head_width: int, sizing: Sizing) -> float:
    """Returns a width above which there is no fixed point up to `_MAX_WIDTH`; infinite if no such width is known.

    Parameters over squared width do not rise with the width (a contract of fusions), so they are never below their
    value at `_MAX_WIDTH`. If the budget of that many parameters derives a width that is wider by a factor, the derived
    width stays above the width from the point where the difference exceeds rounding. Rounding removes at most two and a
    half heads.
    """
    enough = _enough(_smallest_parameters(fusion, wiring, _MAX_WIDTH), sizing=sizing)
    ideal = math.sqrt(enough / (wiring.depth * (4 + 2 * PLAIN_RATIO)))
    growth = ideal / _MAX_WIDTH - 1.0
    return 3.0 * head_width / growth if growth > 0.0 else math.inf
