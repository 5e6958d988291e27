"""The error of a tagger on each part of a text, such that the mean over the parts is the error on the whole.

F1 is a quotient of sums, 2 R / (P + G) with R right, P predicted and G gold entities, and no mean over parts. Each part
so gets its linear share: F1 + (2 r - F1 (p + g)) / m, with the part's own counts r, p and g, and m the mean of p + g
over the parts. The variance of the shares between parts shows how much F1 depends on the choice of the text.

Source: the linearisation of a ratio (Cochran, "Sampling Techniques", 1977, section 6.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from depthweave.trainers.tagging.sentences import Entity, entities_of

MAX_PARTS = 64


class Counts(NamedTuple):
    """Entities of some sentences."""

    right: int
    predicted: int
    gold: int


def part_errors(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """Returns 1 - F1's linear share of at most 64 parts with as many sentences each, in the order of the text.

    Their mean is 1 - F1. Without any entity, and without sentences, there are none.
    """
    num = min(MAX_PARTS, len(gold))
    counts = [
        _counts(gold[start:end], predicted[start:end])
        for start, end in ((number * len(gold) // num, (number + 1) * len(gold) // num) for number in range(num))
    ]
    whole = sum(item.predicted + item.gold for item in counts)
    if not whole:
        return ()
    f1 = 2 * sum(item.right for item in counts) / whole
    mean = whole / num
    return tuple(1.0 - f1 - (2 * item.right - f1 * (item.predicted + item.gold)) / mean for item in counts)


def _counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Counts:
    right = num_predicted = num_gold = 0
    for mine, theirs in zip(gold, predicted, strict=True):
        wanted, found = set[Entity](entities_of(mine)), set[Entity](entities_of(theirs))
        right += len(wanted & found)
        num_predicted += len(found)
        num_gold += len(wanted)
    return Counts(right, num_predicted, num_gold)
