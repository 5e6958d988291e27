"""The same pattern at another size: fusion, dilation and period stay, width and depth change."""

from __future__ import annotations

from typing import NamedTuple

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import whole_heads
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.space import Pattern
from depthweave.spaces.wiring import Wiring, strided_wiring


class Resized(NamedTuple):
    """An architecture and the rule that made its wiring."""

    architecture: Architecture
    pattern: Pattern | None
    """`None` for the plain transformer."""


def resize(
    architecture: Architecture, *, pattern: Pattern | None, width: int | None = None, depth: int | None = None
) -> Resized:
    """Returns the architecture with another width, depth or both; a size that is not given stays.

    The width of a head and the feed-forward ratio stay, so that the number of heads follows the width. A period equal
    to the depth keeps its meaning, one site after the last block. Raises `ValueError` if the width is not a multiple
    of a head's, or the depth changes without a known pattern.
    """
    depth = architecture.depth if depth is None else depth
    width = architecture.width if width is None else width
    for name, value in (("width", width), ("depth", depth)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be a whole number of at least 1")
    head_width = architecture.width // architecture.heads
    if fault := whole_heads(width, head_width=head_width, style=architecture.block):
        raise ValueError(f"width is {width}: {fault}")
    wiring = architecture.wiring
    if depth != architecture.depth:
        wiring, pattern = _rewired(architecture, pattern=pattern, depth=depth)
    resized = Architecture(
        fusion=architecture.fusion,
        wiring=wiring,
        width=width,
        heads=width // head_width,
        feed_forward=max(1, round(architecture.feed_forward * width / architecture.width)),
        vocabulary=architecture.vocabulary,
        context=architecture.context,
        block=architecture.block,
    )
    if resized.fusion != architecture.fusion:
        raise ValueError(
            f"depth is {depth}: {architecture.fusion} with {_named(pattern)} has no site there: take a larger depth"
        )
    return Resized(resized, pattern)


def _rewired(architecture: Architecture, *, pattern: Pattern | None, depth: int) -> tuple[Wiring, Pattern | None]:
    if architecture.fusion == "none":
        return Wiring(depth), None
    if pattern is None:
        raise ValueError(
            f"depth is {depth}: architecture {architecture.id} does not say which dilation and period made its "
            f"wiring: write them into the file as `pattern: {{dilation: 1, period: 1}}`, or keep its depth, "
            f"{architecture.depth}"
        )
    made = strided_wiring(architecture.depth, **pattern._asdict())
    if fusion_class(architecture.fusion).canonical_wiring(made) != architecture.wiring:
        raise ValueError(
            f"depth is {depth}: the sites of architecture {architecture.id} are not those of {_named(pattern)}: "
            f"correct the pattern, or keep its depth, {architecture.depth}"
        )
    if pattern.period == architecture.depth:
        pattern = pattern._replace(period=depth)
    return strided_wiring(depth, **pattern._asdict()), pattern


def _named(pattern: Pattern | None) -> str:
    return "no pattern" if pattern is None else f"dilation {pattern.dilation} and period {pattern.period}"
