"""Moves between wirings: small changes, crosses of two parents, another depth, and random wirings.

Every move returns a wiring whose sites all have a skip connection (`skip_connections`), or `None` where the move is
impossible. Random ones take a `random.Random`, so that the same seed gives the same wirings.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from depthweave.spaces.skip_connections import Connection, max_skip_connections, skip_connections, wiring_of
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_rules import rescaled_wiring

Move = Callable[[Wiring, random.Random], Wiring | None]


def random_wiring(depth: int, *, connections: int, rng: random.Random) -> Wiring:
    """Returns a wiring of exactly so many skip connections, each set of them equally likely.

    Raises `ValueError` where there are none or more than the depth has.
    """
    _check_count(depth, connections)
    made = wiring_of(depth, rng.sample(_all(depth), connections))
    assert made is not None
    return made


def with_connections(wiring: Wiring, connections: int, *, rng: random.Random) -> Wiring:
    """Returns a wiring of exactly so many skip connections: random ones are added or dropped.

    Raises `ValueError` where there are none or more than the depth has.
    """
    _check_count(wiring.depth, connections)
    known = sorted(skip_connections(wiring))
    if len(known) > connections:
        known = rng.sample(known, connections)
    else:
        known += rng.sample(_absent(wiring), connections - len(known))
    made = wiring_of(wiring.depth, known)
    assert made is not None
    return made


def add_connection(wiring: Wiring, rng: random.Random) -> Wiring | None:
    """Returns the wiring with another skip connection; `None` if it has all."""
    absent = _absent(wiring)
    return wiring_of(wiring.depth, skip_connections(wiring) | {rng.choice(absent)}) if absent else None


def drop_connection(wiring: Wiring, rng: random.Random) -> Wiring | None:
    """Returns the wiring without one of its skip connections; `None` if it has only one."""
    known = skip_connections(wiring)
    return wiring_of(wiring.depth, known - {rng.choice(sorted(known))}) if known else None


def shift_connection(wiring: Wiring, rng: random.Random) -> Wiring | None:
    """Returns the wiring with the site or the source of one skip connection moved by one; `None` if none can move."""
    known = skip_connections(wiring)
    moved = [
        (old, new)
        for old in sorted(known)
        for new in _next_to(old)
        if new not in known and 0 <= new[1] < new[0] <= wiring.depth
    ]
    if not moved:
        return None
    old, new = rng.choice(moved)
    return wiring_of(wiring.depth, known - {old} | {new})


def add_site(wiring: Wiring, rng: random.Random) -> Wiring | None:
    """Returns the wiring with another site, which reads what the nearest site reads; `None` if every block has one.

    Without a nearest site, or where its sources are all later, the new site reads the embedding.
    """
    sources = {site.block: site.sources[:-1] for site in wiring if len(site.sources) > 1}
    free = [block for block in range(1, wiring.depth + 1) if block not in sources]
    if not free:
        return None
    block = rng.choice(free)
    nearest = min(sources, key=lambda other: (abs(other - block), other), default=block)
    read = [source for source in sources.get(nearest, ()) if source < block] or [0]
    return wiring_of(wiring.depth, skip_connections(wiring) | {(block, source) for source in read})


def drop_site(wiring: Wiring, rng: random.Random) -> Wiring | None:
    """Returns the wiring without one of its sites; `None` if it has only one."""
    known = skip_connections(wiring)
    blocks = sorted({block for block, _ in known})
    if len(blocks) < 2:
        return None
    dropped = rng.choice(blocks)
    return wiring_of(wiring.depth, (item for item in known if item[0] != dropped))


def shift_site(wiring: Wiring, rng: random.Random) -> Wiring | None:
    """Returns the wiring with one site moved by one block, sources that are then no earlier state dropped.

    `None` if no site can move.
    """
    known = skip_connections(wiring)
    blocks = {block for block, _ in known}
    moved = []
    for block in sorted(blocks):
        for new in (block - 1, block + 1):
            kept = [source for site, source in sorted(known) if site == block and source < new]
            if 1 <= new <= wiring.depth and new not in blocks and kept:
                moved.append((block, new, kept))
    if not moved:
        return None
    old, new, kept = rng.choice(moved)
    return wiring_of(wiring.depth, {item for item in known if item[0] != old} | {(new, source) for source in kept})


MOVES: tuple[Move, ...] = (add_connection, drop_connection, shift_connection, add_site, drop_site, shift_site)
"""The moves that change one wiring."""


def cross_by_depth(first: Wiring, second: Wiring, rng: random.Random) -> Wiring | None:
    """Returns the sites of the first parent up to a random block, and those of the second after it.

    `None` if no site is left. Raises `ValueError` if the parents differ in depth.
    """
    _check_same_depth(first, second)
    cut = rng.randint(1, max(1, first.depth - 1))
    below = {item for item in skip_connections(first) if item[0] <= cut}
    return wiring_of(first.depth, below | {item for item in skip_connections(second) if item[0] > cut})


def cross_by_union(first: Wiring, second: Wiring) -> Wiring | None:
    """Returns the skip connections of both parents; `None` if they have none.

    Raises `ValueError` if the parents differ in depth.
    """
    _check_same_depth(first, second)
    return wiring_of(first.depth, skip_connections(first) | skip_connections(second))


def to_depth(wiring: Wiring, *, depth: int) -> Wiring | None:
    """Returns the wiring with every site and source i of L blocks moved to round(i depth / L), halves up.

    A connection whose site and source meet is dropped; `None` if none is left.
    """
    made = rescaled_wiring(wiring, depth=depth).without_lone_sites()
    return made if made.sites else None


def _all(depth: int) -> list[Connection]:
    return [(block, source) for block in range(1, depth + 1) for source in range(block)]


def _absent(wiring: Wiring) -> list[Connection]:
    known = skip_connections(wiring)
    return [item for item in _all(wiring.depth) if item not in known]


def _next_to(connection: Connection) -> list[Connection]:
    block, source = connection
    return [(block - 1, source), (block + 1, source), (block, source - 1), (block, source + 1)]


def _check_count(depth: int, connections: int) -> None:
    if not 1 <= connections <= max_skip_connections(depth):
        raise ValueError(
            f"connections is {connections}: a model of {depth} blocks has 1 to {max_skip_connections(depth)}, "
            "without those of a site to its own block"
        )


def _check_same_depth(first: Wiring, second: Wiring) -> None:
    if first.depth != second.depth:
        raise ValueError(f"parents have {first.depth} and {second.depth} blocks: rescale one of them first")
