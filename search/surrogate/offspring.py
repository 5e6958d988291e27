"""Streams of sparse graphs: children of one parent, of two parents, and random ones.

A stream is a pure function of the seed and of its parents. A search that is resumed, or that returns to a parent, gets
the same graphs again.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from depthweave.spaces.skip_connections import num_skip_connections
from depthweave.spaces.space import Candidate
from depthweave.spaces.sparse_graphs import SparseGraphs, SparseTarget
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_moves import (
    MOVES,
    cross_by_depth,
    cross_by_union,
    random_wiring,
    to_depth,
    with_connections,
)

Value = TypeVar("Value")

_MAX_DRAWS = 400
"""Most draws of a stream: a small depth may have fewer children than are asked for."""
_MAX_STREAMS = 256
_KEEP_CHANCE = 0.8
"""Chance that a child has its parent's fusion, depth, budget and number of connections, each."""
_MORE_MOVES = 0.5
"""Chance of each further move of a child."""


class Offspring:
    """Makes sparse graphs, each time the same ones for the same parents."""

    def __init__(self, graphs: SparseGraphs, *, depths: Collection[int], budgets: Collection[int], seed: int) -> None:
        self._graphs, self._seed = graphs, seed
        self._depths = tuple(depth for depth in depths if graphs.counts(depth))
        self._budgets = tuple(budgets)
        self._streams: OrderedDict[str, _Stream] = OrderedDict()

    def children(self, parent: Candidate, *, count: int, without: Collection[str]) -> list[Candidate]:
        """Returns the first graphs of the parent's stream, without those with these ids."""
        return self._take(parent.architecture.id, lambda rng: self._child(parent, rng), count, without)

    def crosses(self, first: Candidate, second: Candidate, *, count: int, without: Collection[str]) -> list[Candidate]:
        """Returns the first graphs of two parents' stream, without those with these ids."""
        name = f"{first.architecture.id} {second.architecture.id}"
        return self._take(name, lambda rng: self._cross(first, second, rng), count, without)

    def randoms(self, target: SparseTarget, *, count: int, without: Collection[str]) -> list[Candidate]:
        """Returns the first random graphs of a target, without those with these ids."""
        name = " ".join(map(str, target))

        def draw(rng: random.Random) -> Candidate | None:
            wiring = random_wiring(target.depth, connections=target.connections, rng=rng)
            return self.candidate(wiring, fusion=target.fusion, budget=target.budget)

        return self._take(name, draw, count, without)

    def candidate(self, wiring: Wiring, *, fusion: str, budget: int) -> Candidate | None:
        """Returns the candidate of a wiring; `None` where it meets no budget, or the fusion drops all of its sites."""
        architecture = self._graphs.resolved(wiring, fusion=fusion, budget=budget)
        if architecture is None or architecture.fusion != fusion:
            return None
        return Candidate(architecture=architecture, rule=None, budget=budget)

    def _child(self, parent: Candidate, rng: random.Random) -> Candidate | None:
        wiring: Wiring | None = parent.architecture.wiring
        depth = self._kept(parent.architecture.depth, self._depths, rng)
        if depth != parent.architecture.depth:
            wiring = to_depth(parent.architecture.wiring, depth=depth)
        while wiring is not None:
            wiring = rng.choice(MOVES)(wiring, rng)
            if rng.random() >= _MORE_MOVES:
                break
        return self._counted(wiring, parent, rng)

    def _cross(self, first: Candidate, second: Candidate, rng: random.Random) -> Candidate | None:
        depth = self._kept(first.architecture.depth, self._depths, rng)
        ours, theirs = (to_depth(item.architecture.wiring, depth=depth) for item in (first, second))
        if ours is None or theirs is None:
            return None
        kind = rng.randrange(3)
        if kind == 0:
            return self._counted(cross_by_union(ours, theirs), first, rng)
        below, above = (ours, theirs) if kind == 1 else (theirs, ours)
        return self._counted(cross_by_depth(below, above, rng), first, rng)

    def _counted(self, wiring: Wiring | None, parent: Candidate, rng: random.Random) -> Candidate | None:
        """Returns a candidate of the wiring, brought to a wanted number of connections; `None` where there is none.

        Its fusion and budget are mostly the parent's.
        """
        counts = () if wiring is None else self._graphs.counts(wiring.depth)
        if wiring is None or not counts:
            return None
        count = self._kept(num_skip_connections(parent.architecture.wiring), counts, rng)
        wiring = with_connections(wiring, count, rng=rng)
        fusion = self._kept(parent.architecture.fusion, self._graphs.fusions, rng)
        return self.candidate(wiring, fusion=fusion, budget=self._kept(parent.budget, self._budgets, rng))

    def _kept(self, own: Value, values: tuple[Value, ...], rng: random.Random) -> Value:
        """Returns the parent's own value, or sometimes another one."""
        return own if own in values and rng.random() < _KEEP_CHANCE else rng.choice(values)

    def _take(
        self, name: str, draw: Callable[[random.Random], Candidate | None], count: int, without: Collection[str]
    ) -> list[Candidate]:
        stream = self._streams.pop(name, None) or _Stream(draw, random.Random(f"{self._seed} {name}"))
        # The streams that were used last stay.
        self._streams[name] = stream
        while len(self._streams) > _MAX_STREAMS:
            self._streams.popitem(last=False)
        found: list[Candidate] = []
        for item in stream:
            if len(found) == count:
                break
            if item.architecture.id not in without:
                found.append(item)
        return found


class _Stream:
    """Distinct candidates from repeated draws, which are kept."""

    def __init__(self, draw: Callable[[random.Random], Candidate | None], rng: random.Random) -> None:
        self._draw, self._rng, self._num_draws = draw, rng, 0
        self._drawn: dict[str, Candidate] = {}

    def __iter__(self) -> Iterator[Candidate]:
        yield from list(self._drawn.values())
        while self._num_draws < _MAX_DRAWS:
            self._num_draws += 1
            item = self._draw(self._rng)
            if item is not None and item.architecture.id not in self._drawn:
                self._drawn[item.architecture.id] = item
                yield item
