"""The same architecture at another size: fusion and wiring rule stay, width and depth change."""

from __future__ import annotations

from typing import NamedTuple

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import whole_heads
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_rules import WiringRule, rescaled_wiring


class Resized(NamedTuple):
    """An architecture and the rule that made its wiring."""

    architecture: Architecture
    rule: WiringRule | None
    """`None` for the plain transformer, or where no rule is known."""
    note: str = ""
    """What was done without a rule, in a sentence; empty otherwise."""


def resize(
    architecture: Architecture, *, rule: WiringRule | None, width: int | None = None, depth: int | None = None
) -> Resized:
    """Returns the architecture with another width, depth or both; a size that is not given stays.

    The width of a head and the feed-forward ratio stay, so that the number of heads follows the width. A wiring follows
    its rule (`WiringRule.rescaled`). Without a rule its sites and sources move in proportion, which `note` says. Raises
    `ValueError` if the width is not a multiple of a head's, or the rule is not the one that made the wiring.
    """
    depth = architecture.depth if depth is None else depth
    width = architecture.width if width is None else width
    for name, value in (("width", width), ("depth", depth)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be a whole number of at least 1")
    head_width = architecture.width // architecture.heads
    if fault := whole_heads(width, head_width=head_width, style=architecture.block):
        raise ValueError(f"width is {width}: {fault}")
    wiring, note = architecture.wiring, ""
    if depth != architecture.depth:
        wiring, rule, note = _rewired(architecture, rule=rule, depth=depth)
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
        named = "this wiring" if rule is None else rule.short
        raise ValueError(f"depth is {depth}: {architecture.fusion} with {named} has no site there: take a larger depth")
    return Resized(resized, rule, note)


def _rewired(
    architecture: Architecture, *, rule: WiringRule | None, depth: int
) -> tuple[Wiring, WiringRule | None, str]:
    if architecture.fusion == "none":
        return Wiring(depth), None, ""
    if rule is None:
        note = (
            f"no rule is known for the wiring of architecture {architecture.id}: each site and source i of "
            f"{architecture.depth} blocks is moved to round(i * {depth} / {architecture.depth})"
        )
        return rescaled_wiring(architecture.wiring, depth=depth), None, note
    fits = not rule.misfit(architecture.depth)
    made = rule.wiring(architecture.depth) if fits else Wiring(architecture.depth)
    if fusion_class(architecture.fusion).canonical_wiring(made) != architecture.wiring:
        raise ValueError(
            f"depth is {depth}: the sites of architecture {architecture.id} are not those of {rule.short}: "
            f"correct the rule under `pattern`, or keep its depth, {architecture.depth}"
        )
    rule = rule.rescaled(depth=architecture.depth, to=depth)
    return rule.wiring(depth), rule, ""
