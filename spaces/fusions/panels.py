"""How the weighted sums of many sites are worked out together: which sites, in which panels.

The weights of a depth-weighted average do not depend on the input. So the part of the next few sites' sums that comes
from states which stand already can be worked out in one matrix product, [sites, states] by [states, B T D]: a panel.
Each of them then adds the few states that came since. A state is read about once a panel instead of once a site.

That needs sites that read ever more of the same states: a family. The wirings of the DenseFormer rule are families, one
for each residue of the dilation. Where two families would share a state, and in a family of few states, each site sums
alone.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from depthweave.spaces.wiring import Wiring

_PRODUCT_ROW = 1 / 6
"""What a further row of a matrix product costs where reading its states costs 1 (a CPU core, float32: 1/8 to 1/5)."""

_WORTHWHILE = 7
"""States that the sites of a family read on the average, from which on panels were faster than sums alone, forward and
backward, at widths 64 and 256: with fewer, copying the states into one block takes longer than it saves."""


class Panel(NamedTuple):
    """Sites of a family that follow each other, worked out together."""

    first: int
    """Place of the first in the family."""
    size: int

    @property
    def end(self) -> int:
        """Place after the last one."""
        return self.first + self.size


class Family(NamedTuple):
    """Sites of which each reads all that the one before reads, and then some."""

    sources: tuple[int, ...]
    """All states that they read, ascending."""
    sites: tuple[int, ...]
    """Blocks, ascending."""
    counts: tuple[int, ...]
    """How many of the sources each site reads: the first ones."""
    panels: tuple[Panel, ...]
    """They cover the sites in order."""


@cache
def families_of(wiring: Wiring) -> tuple[Family, ...]:
    """The families of a wiring that are worth their panels; sites of no family sum alone.

    There is none where two families share a state.
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
    """The cheapest panels for sites that read so many states: a shortest path over their places.

    The unit is a state that is read or written once. A panel reads what its first site reads and writes a sum a site;
    each later site reads its sum and the states that came since, and writes.
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
