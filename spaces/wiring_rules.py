"""Wiring rules: the names of wirings, as text, as a phrase for a reader, and as the wiring at a depth.

A rule is written FAMILY[+embed][@P][ from:B]. The families are in `wiring_families`; `+embed` adds the embedding to
every site, `@P` keeps the sites after every P-th block (`@depth`: after the last), `from:B` those from block B on.
`skip:J-I` is one connection, from state J to the site after block I, and `edges:J-I+...` is any list of them.
Every site reads the state of its own block too. A site that would read nothing else is left out, except from `KxP`,
which is the rule of DenseFormer as it was.

    first:2         4x5         pow2+embed         window:3@2 from:7         edges:0-3+2-7
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from depthweave.spaces.skip_connections import Connection, skip_connections
from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from depthweave.spaces.wiring_families import FAMILIES, MAX_NUMBER, WiringFamily, number_rule

Period = int | Literal["depth"]

STRIDED_FAMILY = "k×p"
"""The family of dilation and period, for readers."""
LISTED = ("skip", "edges")
"""Families that list their connections."""
_SHOWN_EDGES = 3
"""Most connections that a phrase lists."""


class Stride(NamedTuple):
    """A dilation and a period."""

    dilation: int
    period: int


@dataclass(frozen=True, kw_only=True)
class WiringRule:
    """How a wiring was made. Two spellings that give the same graph at every depth are one rule.

    Raises `ValueError`, one line, for a number out of range.
    """

    family: str
    """Name in `FAMILIES`, or `skip` or `edges`."""
    number: int | None = None
    """The family's number; of `strided` the dilation."""
    embed: bool = False
    """Whether every site reads the embedding too."""
    period: Period = 1
    """Blocks between sites, or `depth` for one site after the last block."""
    start: int = 1
    """First block that may have a site."""
    edges: tuple[Connection, ...] = ()
    """The connections of `skip` and `edges`, ascending, without a site's own state."""

    def __post_init__(self) -> None:
        if self.family in LISTED:
            self._check_edges()
        else:
            self._check_numbers(FAMILIES[self.family])

    def _check_numbers(self, family: WiringFamily) -> None:
        if (self.number is None) != (family.least is None) or self.edges:
            raise ValueError(f"wiring family {self.family} takes {number_rule(family)}")
        number = "the dilation" if self.family == "strided" else "the number"
        values = {number: self.number, "the period": self.period, "from": self.start}
        for name, value in values.items():
            least = family.least or 0 if name == number else 1
            if isinstance(value, int) and not least <= value <= MAX_NUMBER:
                raise ValueError(
                    f"wiring {self.text!r}: {name} is {value}: give a whole number from {least} to {MAX_NUMBER}"
                )
        reads_embedding = self.family in ("embed", "first", "anchors") or (self.family, self.number) == ("strided", 1)
        if (self.family, self.number) in (("one", 0), ("first", 1), ("anchors", 1)):
            object.__setattr__(self, "family", "embed")
            object.__setattr__(self, "number", None)
            reads_embedding = True
        if reads_embedding:
            object.__setattr__(self, "embed", False)

    def _check_edges(self) -> None:
        if self.number is not None or self.embed or self.period != 1 or self.start != 1:
            raise ValueError(f"wiring {self.family} lists its connections: it takes no +embed, @P or from:B")
        # The larger number of a pair is the site, because a site reads earlier states only.
        edges = sorted({(max(edge), min(edge)) for edge in self.edges})
        for site, source in edges:
            if not 0 <= source < site <= MAX_NUMBER:
                raise ValueError(
                    f"wiring has a connection {source}-{site}: give two different whole numbers from 0 to {MAX_NUMBER}"
                )
        if not edges:
            raise ValueError("wiring edges is empty: list at least one [site, source], such as [[3, 0], [7, 2]]")
        if self.family == "skip" and len(edges) > 1:
            raise ValueError(f"wiring skip has {len(edges)} connections: give one, or take edges")
        object.__setattr__(self, "edges", tuple(edges))
        object.__setattr__(self, "family", "skip" if len(edges) == 1 else "edges")

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Computed once: a space looks up a rule for each of a hundred thousand combinations.
        return hash((self.family, self.number, self.embed, self.period, self.start, self.edges))

    def __getstate__(self) -> dict[str, Any]:
        # Without cached values: another process hashes text in another way.
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def __str__(self) -> str:
        return self.text

    @cached_property
    def text(self) -> str:
        """The rule as text, which `wiring_text.parse_rule` reads."""
        if self.family in LISTED:
            return f"{self.family}:" + "+".join(f"{source}-{site}" for site, source in self.edges)
        if self.family == "strided":
            head, period = f"{self.number}x{self.period}", ""
        else:
            head = self.family if self.number is None else f"{self.family}:{self.number}"
            period = "" if self.period == 1 else f"@{self.period}"
        return head + ("+embed" if self.embed else "") + period + ("" if self.start == 1 else f" from:{self.start}")

    @property
    def stride(self) -> Stride | None:
        """Dilation and period, where they say everything and the period is a number."""
        if not self.is_plain_stride or self.number is None or self.period == "depth":
            return None
        return Stride(self.number, self.period)

    @property
    def is_plain_stride(self) -> bool:
        """Whether a dilation and a period say everything: KxP without `+embed` and `from:B`."""
        return self.family == "strided" and not self.embed and self.start == 1

    @property
    def num_modifiers(self) -> int:
        """Number of additions to the family. The period of KxP is none."""
        return self.embed + (self.start != 1) + (self.family != "strided" and self.period != 1)

    def at(self, depth: int) -> WiringRule:
        """Returns the rule with the depth in place of the word `depth`."""
        return dataclasses.replace(self, period=depth) if self.period == "depth" else self

    def misfit(self, depth: int) -> str:
        """Returns why the rule makes no wiring at a depth; empty where it does. KxP fits every depth."""
        if self.is_plain_stride:
            return ""
        if self.edges and self.edges[-1][0] > depth:
            return f"wiring {self.short} has a site after block {self.edges[-1][0]}: depth is {depth}"
        if self._sites(depth):
            return ""
        remedy = "take a larger depth" if self.start == 1 else "take a larger depth, or an earlier block after from:"
        return f"wiring {self.short} has no site at depth {depth}: {remedy}"

    def wiring(self, depth: int) -> Wiring:
        """Returns the wiring of a model of `depth` blocks; raises `ValueError` where the rule does not fit it."""
        if self.is_plain_stride:
            assert self.number is not None
            return strided_wiring(depth, dilation=self.number, period=depth if self.period == "depth" else self.period)
        if misfit := self.misfit(depth):
            raise ValueError(misfit)
        return Wiring(depth, self._sites(depth))

    def _sites(self, depth: int) -> tuple[Site, ...]:
        found: dict[int, set[int]] = defaultdict(set)
        for site, source in self.edges:
            found[site].add(source)
        if not self.edges:
            family, period = FAMILIES[self.family], depth if self.period == "depth" else self.period
            # A first site that is a multiple of the period.
            for block in range(-(-self.start // period) * period, depth + 1, period):
                sources = {item for item in family.sources(block, depth, self.number or 0) if 0 <= item < block}
                # The embedding joins a site; it does not make one.
                found[block] = sources | {0} if self.embed and sources else sources
        return tuple(Site(block, (*sorted(found[block]), block)) for block in sorted(found) if found[block])

    def rescaled(self, *, depth: int, to: int) -> WiringRule:
        """Returns the rule for another depth: block numbers move in proportion, dilations, periods and counts stay.

        A period equal to the depth stays so. Raises `ValueError` if no connection is left.
        """
        if self.edges:
            edges = [
                (scaled(site, depth=depth, to=to), scaled(source, depth=depth, to=to)) for site, source in self.edges
            ]
            kept = tuple(edge for edge in edges if edge[0] > edge[1])
            if not kept:
                raise ValueError(
                    f"depth is {to}: wiring {self.short} has no connection left there: take a larger depth"
                )
            return WiringRule(family="edges", edges=kept)
        number = self.number
        if self.family == "one" and number is not None:
            number = scaled(number, depth=depth, to=to)
        return dataclasses.replace(
            self,
            number=number,
            period=to if self.period in (depth, "depth") else self.period,
            start=1 + scaled(self.start - 1, depth=depth, to=to),
        )

    @property
    def short(self) -> str:
        """The text, shortened where it lists many connections: "24 connections"."""
        return self.text if len(self.edges) <= _SHOWN_EDGES else f"{len(self.edges)} connections"

    @property
    def phrase(self) -> str:
        """The rule in words: "first two states, every block", "every 4th state, every 5 blocks"."""
        return self.phrase_at(None)

    def phrase_at(self, depth: int | None) -> str:
        """Returns the phrase; with a depth, a period equal to it is "after the last block"."""
        if self.family == "skip":
            ((site, source),) = self.edges
            return f"state {source} once, at block {site}"
        if self.family == "edges":
            if len(self.edges) <= _SHOWN_EDGES:
                return "connections " + ", ".join(f"{source} to {site}" for site, source in self.edges)
            sites = len({site for site, _ in self.edges})
            return f"{len(self.edges)} connections at {sites} site{'' if sites == 1 else 's'}"
        family = FAMILIES[self.family]
        what = family.phrase(self.number or 0) + (" and the embedding" if self.embed else "")
        return f"{what}, {self._place(family, depth)}"

    def _place(self, family: WiringFamily, depth: int | None) -> str:
        since = "" if self.start == 1 else f", from block {self.start}"
        if self.period in ("depth", depth):
            return "after the last block"
        return (family.place if self.period == 1 else f"every {self.period} blocks") + since


def strided_rule(dilation: int, period: Period) -> WiringRule:
    """Returns the rule KxP."""
    return WiringRule(family="strided", number=dilation, period=period)


def edges_rule(wiring: Wiring) -> WiringRule:
    """Returns the rule that lists every connection of a wiring; raises `ValueError` if it has none."""
    return WiringRule(family="edges", edges=tuple(skip_connections(wiring)))


def rule_family(rule: WiringRule | None) -> str:
    """Returns a name that groups rules: "k×p", "first", ..., "edges"; "none" without a rule."""
    if rule is None:
        return "none"
    return STRIDED_FAMILY if rule.family == "strided" else rule.family


def rescaled_wiring(wiring: Wiring, *, depth: int) -> Wiring:
    """Returns a wiring whose sites and sources moved in proportion to another depth; sites that meet are united."""
    found: dict[int, set[int]] = defaultdict(set)
    for block, sources in wiring:
        site = scaled(block, depth=wiring.depth, to=depth)
        found[site] |= {scaled(source, depth=wiring.depth, to=depth) for source in sources}
    return Wiring(depth, tuple(Site(block, tuple(sorted(found[block]))) for block in sorted(found) if block))


def scaled(state: int, *, depth: int, to: int) -> int:
    """Returns the state at the same share of another depth, rounded half up."""
    return (2 * state * to + depth) // (2 * depth)


def simplest(rules: Iterable[WiringRule]) -> WiringRule:
    """Returns the rule to show for a graph: the first KxP, else the one with the fewest parts and the shortest text."""
    known = list(rules)
    return next((rule for rule in known if rule.is_plain_stride), None) or min(known, key=complexity)


_ORDER = {name: place for place, name in enumerate((*FAMILIES, *LISTED))}


def complexity(rule: WiringRule) -> tuple[bool, int, int, int, str]:
    """Returns a sort key, smallest for the simplest rule."""
    return not rule.is_plain_stride, rule.num_modifiers, len(rule.text), _ORDER[rule.family], rule.text
