"""Which sparse graphs a search may propose: wirings of a given number of skip connections, of a rule or of none.

They are too many to enumerate: 12 blocks have 8 10^19 wirings of 24 connections. A search samples them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.skip_connections import max_skip_connections

MIN_GRAPHS = 10_000
"""Fewest graphs of a depth and a count of connections: fewer are listed rather than sampled."""


@dataclass(frozen=True, kw_only=True)
class SparseAxes:
    """Which sparse graphs a search may propose, beside the enumerated architectures of its space."""

    connections: tuple[int, ...]
    """Numbers of skip connections (`depthweave.spaces.skip_connections`): a site's own block is not counted."""
    fusions: tuple[str, ...] = ()
    """Fusions that get sparse graphs, of those of the space; all of them where empty."""

    def __post_init__(self) -> None:
        for name in ("connections", "fusions"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"space.sparse.{name} lists {list(values)}: list each once")
        if not self.connections:
            raise ValueError("space.sparse.connections is empty: list at least one number, such as [12, 24]")
        if min(self.connections) < 1:
            raise ValueError(f"space.sparse.connections has {min(self.connections)}: give numbers of at least 1")
        if "none" in self.fusions:
            raise ValueError("space.sparse.fusions has none, which has no connections: list other fusions")
        for fusion in self.fusions:
            fusion_class(fusion)

    def check(self, *, fusions: Sequence[str], depths: Sequence[int]) -> None:
        """Raises `ValueError` where a space of these fusions and depths has no such graphs, or only few."""
        for fusion in self.fusions:
            if fusion not in fusions:
                raise ValueError(f"space.sparse.fusions has {fusion}: it must be one of space.fusions, {list(fusions)}")
            if has_one_wiring(fusion):
                raise ValueError(f"space.sparse.fusions has {fusion}, which has one wiring a depth: leave it out")
        if all(has_one_wiring(fusion) for fusion in fusions):
            raise ValueError(
                f"space.sparse needs a fusion with several wirings, such as dwa, and space.fusions is {list(fusions)}: "
                "add one, or leave space.sparse out"
            )
        deepest = max(depths)
        for count in self.connections:
            if max(num_graphs(depth, count) for depth in depths) < MIN_GRAPHS:
                raise ValueError(
                    f"space.sparse.connections has {count}: {deepest} blocks have at most "
                    f"{max_skip_connections(deepest)} connections, and {num_graphs(deepest, count):,} graphs "
                    f"of {count}; at least {MIN_GRAPHS:,} are sampled: give another number, or a larger depth"
                )


def num_graphs(depth: int, connections: int) -> int:
    """Returns how many wirings of so many skip connections a depth has."""
    return math.comb(max_skip_connections(depth), connections) if connections > 0 else 0
