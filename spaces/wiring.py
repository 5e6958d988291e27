"""Wirings: the blocks after which a fusion is applied, and the states that each one reads.

Source: Pagliardini, Mohtashami, Fleuret, Jaggi, "DenseFormer", arXiv 2402.02622; the rule is that of the
authors' package, which differs from their experiment script if the period is above 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple


class Site(NamedTuple):
    """A fusion after `block` (1 to depth) that reads the states of `sources`, ascending; source 0 is the embedding.

    The last source is always the block itself.
    """

    block: int
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Wiring:
    """The sites of a model of `depth` blocks, in ascending order, at most one after each block."""

    depth: int
    """Number of transformer blocks, at least 1."""
    sites: tuple[Site, ...] = ()
    """Sites in ascending order of block."""

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"wiring.depth is {self.depth}: a model has at least 1 block")
        object.__setattr__(self, "sites", tuple(Site(int(b), tuple(map(int, s))) for b, s in self.sites))
        blocks = [site.block for site in self.sites]
        if blocks != sorted(set(blocks)):
            raise ValueError(f"wiring.sites are after blocks {blocks}: list each block once, in ascending order")
        for block, sources in self.sites:
            if not 1 <= block <= self.depth:
                raise ValueError(f"wiring.sites has a site after block {block}: blocks are 1 to {self.depth}")
            if list(sources) != sorted(set(sources)) or not sources or sources[0] < 0 or sources[-1] != block:
                raise ValueError(
                    f"wiring.sites: the site after block {block} reads {list(sources)}: "
                    f"list sources from 0 to {block} once each, ascending, ending with {block}"
                )

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    @cached_property
    def num_connections(self) -> int:
        """Number of (site, source) pairs."""
        return sum(len(site.sources) for site in self.sites)

    @cached_property
    def last_reads(self) -> tuple[int, ...]:
        """For each state 0 to depth, the block of the last site that reads it, or -1."""
        last = [-1] * (self.depth + 1)
        missing = self.sites[-1].block + 1 if self.sites else 0
        for block, sources in reversed(self.sites):
            for source in sources:
                if last[source] < 0:
                    last[source] = block
                    missing -= 1
            if not missing:
                # The last sites of a dense wiring read every state.
                break
        return tuple(last)

    @cached_property
    def max_kept_states(self) -> int:
        """Most states a forward pass holds at once for later sites, the newest state included."""
        dropped = [0] * (self.depth + 2)
        for last in self.last_reads:
            dropped[last + 1] += 1
        # A state counts from the block after it to its last read. A state that is never read does not count.
        most, kept = 1, 0
        for block in range(1, self.depth + 1):
            kept += (self.last_reads[block - 1] >= 0) - dropped[block]
            most = max(most, kept + 1)
        return most

    def without_lone_sites(self) -> Wiring:
        """Returns this wiring without the sites whose only source is their own block."""
        return self._without_lone_sites

    @cached_property
    def _without_lone_sites(self) -> Wiring:
        kept = tuple(site for site in self.sites if len(site.sources) > 1)
        return self if len(kept) == len(self.sites) else _checked(self.depth, kept)

    @cached_property
    def sites_json(self) -> str:
        """The sites as compact JSON, [[block, [sources]], ...], computed once for all architectures of a wiring."""
        return f"[{','.join(map(_site_json, self.sites))}]"


def strided_wiring(depth: int, *, dilation: int = 1, period: int = 1) -> Wiring:
    """Returns the wiring of the DenseFormer rule: sites after every `period`-th block read every `dilation`-th state.

    There is a site after block i (1 to depth) if `period` divides i. It reads { j <= i : j = i (mod dilation) }.
    `period=depth` gives one site, after the last block. Raises `ValueError` if a number is below 1.
    """
    for name, value in (("depth", depth), ("dilation", dilation), ("period", period)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be a whole number of at least 1")
    blocks = range(period, depth + 1, period)
    return _checked(depth, tuple([strided_site(i, dilation if dilation <= i else i + 1) for i in blocks]))


def _checked(depth: int, sites: tuple[Site, ...]) -> Wiring:
    """Returns a wiring of valid sites, unchecked: a space has a hundred thousand, of hundreds of sites each."""
    wiring = object.__new__(Wiring)
    object.__setattr__(wiring, "depth", depth)
    object.__setattr__(wiring, "sites", sites)
    return wiring


# Wirings of all depths have most of their sites in common.
@lru_cache(maxsize=2**16)
def strided_site(block: int, dilation: int) -> Site:
    """Returns the site after a block that reads every `dilation`-th state back from it."""
    return Site(block, tuple(range(block % dilation, block + 1, dilation)))


@lru_cache(maxsize=2**16)
def _site_json(site: Site) -> str:
    return json.dumps(site, separators=(",", ":"))
