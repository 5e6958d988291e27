"""The whole grammar of wirings at a depth, each graph once under its simplest name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import combinations, product
from types import MappingProxyType

from depthweave.spaces.wiring import Site
from depthweave.spaces.wiring_families import FAMILIES
from depthweave.spaces.wiring_rules import Period, WiringRule, complexity, strided_rule

WHOLE_GRAMMAR = "all"
"""What a spec writes for every rule of the grammar."""

_MAX_NUMBER = 8
"""Largest N of `first`, `window` and `anchors`."""
_PERIODS: tuple[Period, ...] = (1, 2, 3, 4, 5, 6, "depth")
_PARTS = 12
"""The blocks of `from:B`, of `one:J` and of `skip:J-I` are at each twelfth of the depth."""
_MAX_STRIDE = 12
"""Largest dilation and period of KxP, except the depth."""


def grammar(depth: int) -> tuple[WiringRule, ...]:
    """Returns a rule for every distinct graph of the grammar at a depth, the simplest rules first.

    Every family has each number up to 8, with and without `+embed`, with each period of 1 to 6 and the depth, and from
    each twelfth of the depth on. `one` and `skip` have the states at each twelfth, which are all states of 12 blocks.
    KxP has each pair of 1 to 12 and the depth.
    """
    return tuple(_by_graph(depth).values())


@lru_cache(maxsize=32)
def _by_graph(depth: int) -> Mapping[tuple[Site, ...], WiringRule]:
    found: dict[tuple[Site, ...], WiringRule] = {}
    for rule in sorted(set(_rules(depth)), key=complexity):
        if not rule.misfit(depth):
            found.setdefault(rule.wiring(depth).without_lone_sites().sites, rule)
    found.pop((), None)
    return MappingProxyType(found)


def _rules(depth: int) -> Iterator[WiringRule]:
    periods = dict.fromkeys(depth if period == "depth" else period for period in _PERIODS)
    states = list(dict.fromkeys(part * depth // _PARTS for part in range(_PARTS + 1)))
    strides = list(dict.fromkeys((*range(1, min(_MAX_STRIDE, depth) + 1), depth)))
    for dilation, period in product(strides, strides):
        yield strided_rule(dilation, period)
    for name, family in FAMILIES.items():
        numbers: list[int | None] = [None]
        if family.least is not None:
            numbers = [*(states[:-1] if name == "one" else range(family.least, min(_MAX_NUMBER, depth) + 1))]
        for number, embed, period, start in product(numbers, (False, True), periods, states[:-1]):
            yield WiringRule(family=name, number=number, embed=embed, period=period, start=start + 1)
    for source, site in combinations(states, 2):
        yield WiringRule(family="skip", edges=((site, source),))
