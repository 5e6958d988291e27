"""The families of wirings: which earlier states the site after a block reads, one row each.

`strided` is the rule of DenseFormer (arXiv 2402.02622), written KxP. `embed` is the x0 injection of modded-nanogpt,
`mirror` the skips of a U-net (arXiv 1505.04597), `pow2` those of sparse deep aggregation (arXiv 1801.05895).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

MAX_NUMBER = 2**53
"""Of a rule, as of every whole number in a spec."""


class WiringFamily(NamedTuple):
    """A family of rules, with or without a number."""

    sources: Callable[[int, int, int], Iterable[int]]
    """Of block, depth and number: the states read, in any order; the block itself and states below 0 are ignored."""
    summary: str
    """What a site reads beside its own state, for a table; the number is written N."""
    phrase: Callable[[int], str]
    """Of the number: what a site reads, in the words of a reader."""
    least: int | None = None
    """Smallest number; `None` where the family takes none."""
    place: str = "every block"
    """Where its sites are, in words."""


_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def in_words(number: int) -> str:
    """Returns a small number as a word."""
    return _WORDS[number] if 0 <= number < len(_WORDS) else str(number)


def ordinal(number: int) -> str:
    """ "1st", "2nd", "3rd", "4th", "11th"."""
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def number_rule(family: WiringFamily) -> str:
    """Returns which numbers a family takes, for a message."""
    return (
        "no number"
        if family.least is None
        else f"a whole number of at least {family.least}, such as :{family.least + 1}"
    )


def _evenly_spaced(depth: int, number: int) -> list[int]:
    return [index * depth // number for index in range(number)]


def _every(number: int) -> str:
    return "all states" if number == 1 else f"every {ordinal(number)} state"


FAMILIES: Mapping[str, WiringFamily] = MappingProxyType(
    {
        "strided": WiringFamily(
            lambda block, depth, number: range(block % number, block, number),
            "every K-th state back, after every P-th block",
            _every,
            least=1,
        ),
        "embed": WiringFamily(lambda block, depth, number: (0,), "the embedding, state 0", lambda number: "embedding"),
        "first": WiringFamily(
            lambda block, depth, number: range(min(number, block)),
            "the first N states, the embedding being the first",
            lambda number: f"first {in_words(number)} states",
            least=1,
        ),
        "window": WiringFamily(
            lambda block, depth, number: range(max(0, block - number + 1), block),
            "the last N states, its own included",
            lambda number: f"last {in_words(number)} states",
            least=2,
        ),
        "pow2": WiringFamily(
            lambda block, depth, number: [block - 2**k for k in range(block.bit_length())],
            "the states 1, 2, 4, 8, ... back",
            lambda number: "states 1, 2, 4, ... back",
        ),
        "mirror": WiringFamily(
            lambda block, depth, number: [depth - block] if 2 * block > depth else (),
            "state L - i at the site after block i, in the upper half of L blocks",
            lambda number: "mirror image",
            place="every block of the upper half",
        ),
        "anchors": WiringFamily(
            lambda block, depth, number: range(depth) if number >= depth else _evenly_spaced(depth, number),
            "those of the N states 0, L/N, 2 L/N, ... (rounded down) that exist already",
            lambda number: f"{in_words(number)} evenly spaced states",
            least=1,
        ),
        "one": WiringFamily(
            lambda block, depth, number: [number] if number < block else (),
            "state N, at every later site",
            lambda number: f"state {number}",
            least=0,
            place="every later block",
        ),
    }
)
"""Families that a formula describes. `skip` and `edges`, which list their connections, are in `wiring_rules`."""

FORMS = (
    "KxP",
    *(f"{name}:N" if item.least is not None else name for name, item in FAMILIES.items() if name != "strided"),
    "skip:J-I",
    "edges:J-I+...",
)
"""How a rule of each family is written."""
