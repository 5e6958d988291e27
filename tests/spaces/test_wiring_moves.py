"""Moves between wirings: every result is a valid wiring with the promised connections, and all can be reached."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthweave.spaces.skip_connections import (
    Connection,
    max_skip_connections,
    num_skip_connections,
    skip_connections,
    wiring_of,
)
from depthweave.spaces.wiring import Wiring, strided_wiring
from depthweave.spaces.wiring_moves import (
    MOVES,
    add_connection,
    add_site,
    cross_by_depth,
    cross_by_union,
    drop_connection,
    drop_site,
    random_wiring,
    shift_connection,
    shift_site,
    to_depth,
    with_connections,
)


def _pairs(depth: int) -> list[Connection]:
    return [(block, source) for block in range(1, depth + 1) for source in range(block)]


@st.composite
def wirings(draw: st.DrawFn, depth: int | None = None) -> Wiring:
    depth = draw(st.integers(1, 12)) if depth is None else depth
    chosen = draw(st.sets(st.sampled_from(_pairs(depth)), min_size=1))
    made = wiring_of(depth, chosen)
    assert made is not None
    return made


class Directed(random.Random):
    """A generator whose `choice` is made by the test."""

    def __init__(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        super().__init__(0)
        self._pick = pick

    def choice(self, seq: Any) -> Any:
        return self._pick(seq)


def _is_canonical(wiring: Wiring) -> bool:
    # The constructor checks the order and the ranges.
    return Wiring(wiring.depth, wiring.sites) == wiring and wiring.without_lone_sites() is wiring and bool(wiring.sites)


@given(wirings(), st.sampled_from(MOVES), st.integers())
def test_every_move_returns_a_canonical_wiring_of_the_same_depth_or_none(
    wiring: Wiring, move: Callable[[Wiring, random.Random], Wiring | None], seed: int
) -> None:
    moved = move(wiring, random.Random(seed))
    if moved is not None:
        assert _is_canonical(moved)
        assert moved.depth == wiring.depth
        assert moved != wiring
    assert move(wiring, random.Random(seed)) == moved


@given(wirings(), st.integers())
def test_connection_moves_change_the_count_by_one_or_not_at_all(wiring: Wiring, seed: int) -> None:
    count, rng = num_skip_connections(wiring), random.Random(seed)
    added, dropped, shifted = add_connection(wiring, rng), drop_connection(wiring, rng), shift_connection(wiring, rng)
    full = count == max_skip_connections(wiring.depth)
    assert (added is None) == full
    assert added is None or num_skip_connections(added) == count + 1
    assert (dropped is None) == (count == 1)
    assert dropped is None or num_skip_connections(dropped) == count - 1
    assert (shifted is None) == full
    assert shifted is None or num_skip_connections(shifted) == count


@given(wirings(), st.integers())
def test_site_moves_change_the_sites_by_one_or_not_at_all(wiring: Wiring, seed: int) -> None:
    count, rng = len(wiring.sites), random.Random(seed)
    added, dropped, shifted = add_site(wiring, rng), drop_site(wiring, rng), shift_site(wiring, rng)
    assert (added is None) == (count == wiring.depth)
    assert added is None or len(added.sites) == count + 1
    assert (dropped is None) == (count == 1)
    assert dropped is None or len(dropped.sites) == count - 1
    assert shifted is None or len(shifted.sites) == count
    assert shifted is None or num_skip_connections(shifted) <= num_skip_connections(wiring)


@given(st.data(), st.integers(1, 12), st.integers())
def test_crosses_have_only_connections_of_their_parents(data: st.DataObject, depth: int, seed: int) -> None:
    first, second = data.draw(wirings(depth)), data.draw(wirings(depth))
    union = cross_by_union(first, second)
    assert union is not None
    assert skip_connections(union) == skip_connections(first) | skip_connections(second)
    crossed = cross_by_depth(first, second, random.Random(seed))
    if crossed is not None:
        assert _is_canonical(crossed)
        theirs = {site.block: site for site in second}
        ours = {site.block: site for site in first}
        origin = [ours.get(site.block) == site for site in crossed]
        assert all(site in (ours.get(site.block), theirs.get(site.block)) for site in crossed)
        # Below the cut they are those of the first parent, above it those of the second.
        ends = [i for i, site in enumerate(crossed) if theirs.get(site.block) != site]
        starts = [i for i, is_first in enumerate(origin) if not is_first]
        assert not ends or not starts or max(ends) < min(starts)


def test_crosses_of_different_depths_are_refused() -> None:
    with pytest.raises(ValueError, match="4 and 6 blocks: rescale one"):
        cross_by_union(strided_wiring(4), strided_wiring(6))


@given(st.integers(1, 12), st.data(), st.integers())
def test_random_wirings_have_exactly_the_wanted_connections(depth: int, data: st.DataObject, seed: int) -> None:
    count = data.draw(st.integers(1, max_skip_connections(depth)))
    made = random_wiring(depth, connections=count, rng=random.Random(seed))
    assert _is_canonical(made)
    assert num_skip_connections(made) == count
    assert random_wiring(depth, connections=count, rng=random.Random(seed)) == made
    start = data.draw(wirings(depth))
    changed = with_connections(start, count, rng=random.Random(seed))
    assert num_skip_connections(changed) == count
    smaller, larger = sorted((skip_connections(start), skip_connections(changed)), key=len)
    assert smaller <= larger


def test_random_wirings_cover_all_connections_evenly() -> None:
    rng, counts = random.Random(0), dict.fromkeys(_pairs(4), 0)
    for _ in range(2000):
        for item in skip_connections(random_wiring(4, connections=3, rng=rng)):
            counts[item] += 1
    # 600 expected of each, with a standard deviation of 21.
    assert all(500 < count < 700 for count in counts.values())


@pytest.mark.parametrize("count", [0, 11])
def test_a_count_that_the_depth_does_not_have_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"connections is {count}: a model of 4 blocks has 1 to 10"):
        random_wiring(4, connections=count, rng=random.Random(0))


def test_rescaled_moves_sites_and_sources_in_proportion_halves_up() -> None:
    wiring = wiring_of(4, [(2, 0), (3, 1), (4, 3)])
    assert wiring is not None
    assert to_depth(wiring, depth=8) == wiring_of(8, [(4, 0), (6, 2), (8, 6)])
    # 3 and 4 of 4 blocks are 2 of 2: that connection is dropped; 1 of 4 is 0.5, so 1.
    assert to_depth(wiring, depth=2) == wiring_of(2, [(1, 0), (2, 1)])
    assert to_depth(strided_wiring(12), depth=24) == wiring_of(24, [(2 * b, 2 * s) for b, s in _pairs(12)])
    meeting = wiring_of(8, [(8, 7)])
    assert meeting is not None
    assert to_depth(meeting, depth=2) is None


@given(wirings(), st.integers(1, 12))
def test_rescaled_wirings_are_canonical_and_never_gain_connections(wiring: Wiring, depth: int) -> None:
    moved = to_depth(wiring, depth=depth)
    assert moved is None or (_is_canonical(moved) and moved.depth == depth)
    assert moved is None or num_skip_connections(moved) <= num_skip_connections(wiring)
    assert to_depth(wiring, depth=wiring.depth) == wiring


@given(st.data(), st.integers(1, 12))
def test_any_wiring_is_reached_from_any_other_by_adding_and_dropping(data: st.DataObject, depth: int) -> None:
    start, goal = data.draw(wirings(depth)), data.draw(wirings(depth))
    wanted, now = skip_connections(goal), start
    while missing := wanted - skip_connections(now):
        added = add_connection(now, Directed(lambda options, missing=missing: min(set(options) & missing)))
        assert added is not None
        now = added
    while extra := skip_connections(now) - wanted:
        dropped = drop_connection(now, Directed(lambda options, extra=extra: min(set(options) & extra)))
        assert dropped is not None
        now = dropped
    assert now == goal


def test_shifts_alone_reach_every_wiring_of_the_same_number_of_connections() -> None:
    start = wiring_of(4, [(1, 0), (2, 0), (2, 1)])
    assert start is not None
    reached, border = {start}, [start]
    while border:
        wiring = border.pop()
        options: list[Any] = []
        shift_connection(wiring, Directed(lambda seq, found=options: (found.extend(seq), seq[0])[1]))
        for wanted in options:
            moved = shift_connection(wiring, Directed(lambda seq, wanted=wanted: wanted))
            assert moved is not None
            if moved not in reached:
                reached.add(moved)
                border.append(moved)
    assert len(reached) == 120  # all sets of 3 of 10 connections
