"""Skip connections: pairs of a site and a source other than the site's own block.

They are what a wiring chooses: a site always reads its own block too, and `Wiring.num_connections` counts that pair
as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from depthweave.spaces.wiring import Site, Wiring

Connection = tuple[int, int]
"""A site's block and one of its earlier sources."""


def skip_connections(wiring: Wiring) -> set[Connection]:
    """Returns the skip connections of a wiring."""
    return {(block, source) for block, sources in wiring for source in sources[:-1]}


def num_skip_connections(wiring: Wiring) -> int:
    """Returns their number."""
    return wiring.num_connections - len(wiring.sites)


def max_skip_connections(depth: int) -> int:
    """Returns the most skip connections of a model of `depth` blocks: every state at every later site."""
    return depth * (depth + 1) // 2


def wiring_of(depth: int, connections: Iterable[Connection]) -> Wiring | None:
    """Returns the wiring of these skip connections; `None` without any."""
    sources: dict[int, list[int]] = defaultdict(list)
    for block, source in connections:
        sources[block].append(source)
    sites = tuple(Site(block, (*sorted(sources[block]), block)) for block in sorted(sources))
    return Wiring(depth, sites) if sites else None
