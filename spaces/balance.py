"""Finds the depths and budgets of a space whose plain transformer has an unusual feed-forward ratio."""

from __future__ import annotations

from typing import NamedTuple

from depthweave.spaces.space import SearchSpace
from depthweave.spaces.widths import MAX_PLAIN_RATIO, MIN_PLAIN_RATIO, is_usual_ratio


class Unbalanced(NamedTuple):
    """A depth and budget whose plain transformer has an unusual ratio."""

    depth: int
    budget: int
    width: int
    ratio: float
    """Feed-forward width of the plain transformer, in widths."""


def unbalanced(space: SearchSpace) -> list[Unbalanced]:
    """Returns every such depth and budget, in the order of the space."""
    found: list[Unbalanced] = []
    # The sizes of a host are given.
    if space.axes.head is not None:
        return found
    for combination, architecture_id in space.by_combination.items():
        if combination.fusion != "none":
            continue
        plain = space[architecture_id].architecture
        ratio = plain.feed_forward / plain.width
        if not is_usual_ratio(ratio, block=space.axes.block):
            found.append(Unbalanced(combination.depth, combination.budget, plain.width, ratio))
    return found


def unbalanced_sentences(space: SearchSpace) -> list[str]:
    """Returns a line for each: what the ratio is, why, and what to change."""
    axes = space.axes
    if axes.width is not None:
        advice = f"leave out space.width, which is {axes.width}, or take other depths or budgets"
    elif axes.sizing == "nearest":
        advice = "take space.sizing ratio instead of nearest in a new run"
    else:
        shared = axes.block.heads_per_kv
        multiple = f"head_width {axes.head_width}" + (f" times heads_per_kv {shared}" if shared > 1 else "")
        advice = f"no multiple of {multiple} fits, so take a smaller one, or other depths or budgets"
    usual = " to ".join(f"{axes.block.ratio(ratio):.3g}" for ratio in (MIN_PLAIN_RATIO, MAX_PLAIN_RATIO))
    return [
        f"shape: at depth {depth} and budget {budget:,} the plain transformer's feed-forward layers are "
        f"{ratio:.1f} times its width of {width}, not {usual} times; {advice}"
        for depth, budget, width, ratio in unbalanced(space)
    ]
