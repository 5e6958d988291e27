"""Which sites compute their weighted sums together, in which panels.

The weights of a depth-weighted average do not depend on the input. So one matrix product, [sites, states] by
[states, B T D], computes the part of the next few sites' sums that comes from existing states: a panel. Each of these
sites then adds the few later states. A state is read about once a panel instead of once a site.

This needs a family: sites that each read all states of the one before and more. The wirings of the DenseFormer
rule are families, one for each residue of the dilation. If two families would share a state, or a family has few
states, each site sums alone.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from depthweave.spaces.wiring import Wiring

_PRODUCT_ROW = 1 / 6
"""Cost of a further row of a matrix product, relative to reading its states (a CPU core, float32: 1/8 to 1/5)."""

_WORTHWHILE = 7
"""Average number of states a site from which panels were faster than single sums, forward and backward, at widths 64
and 256. With fewer, copying the states into one block takes longer than it saves."""


class Panel(NamedTuple):
    """Consecutive sites of a family that are computed together."""

    first: int
    """Place of the first site in the family."""
    size: int

    @property
    def end(self) -> int:
        """Place after the last one."""
        return self.first + self.size


class Family(NamedTuple):
    """Sites that each read all states of the one before, and more."""

    sources: tuple[int, ...]
    """All states that they read, ascending."""
    sites: tuple[int, ...]
    """Blocks, ascending."""
    counts: tuple[int, ...]
    """How many of the sources each site reads, from the first on."""
    panels: tuple[Panel, ...]
    """They cover the sites in order."""


@cache
def families_of(wiring: Wiring) -> tuple[Family, ...]:
    """Returns the families of a wiring for which panels are faster; other sites sum alone.

    Returns none if two families share a state.
    """
    found: list[tuple[list[int], list[int], list[int]]] = []
    for block, sources in wiring:
        for known, blocks, counts in found:
            if tuple(known) == sources[: len(known)]:
                known.extend(sources[len(known) :])
                blocks.append(block)
                counts.append(len(sources))
                break
        else:
            found.append((list(sources), [block], [len(sources)]))
    everywhere = [source for known, _, _ in found for source in known]
    if len(set(everywhere)) < len(everywhere):
        return ()
    return tuple(
        Family(tuple(known), tuple(blocks), tuple(counts), panels_of(tuple(counts)))
        for known, blocks, counts in found
        if sum(counts) >= _WORTHWHILE * len(counts)
    )


def panels_of(counts: tuple[int, ...]) -> tuple[Panel, ...]:
    """Returns the cheapest panels for sites with these numbers of states: a shortest path over their places.

    The unit is one read or write of a state. A panel reads the states of its first site and writes a sum a site. Each
    later site reads its sum and the later states, and writes.
    """
    best: list[tuple[float, tuple[Panel, ...]]] = [(0.0, ())]
    for end in range(1, len(counts) + 1):
        ways = []
        for first in range(end):
            size = end - first
            later = sum(2 + count - counts[first] for count in counts[first + 1 : end])
            product = counts[first] * (1 + _PRODUCT_ROW * (size - 1)) + size
            ways.append((best[first][0] + product + later, (*best[first][1], Panel(first, size))))
        best.append(min(ways, key=lambda way: way[0]))
    return best[-1][1]
