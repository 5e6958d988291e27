"""Wirings: the DenseFormer rule by listing, by closed form and against a slow loop over the package's rule."""

from __future__ import annotations

import random

import pytest

from depthweave.spaces.wiring import Site, Wiring, strided_wiring

Sites = list[tuple[int, list[int]]]


def _listed(wiring: Wiring) -> Sites:
    return [(block, list(sources)) for block, sources in wiring]


def _package_rule(depth: int, dilation: int, period: int) -> Sites:
    """The published package, step by step: states go into `dilation` accumulators in turn; a site reads its own one."""
    accumulators: list[list[int]] = [[] for _ in range(dilation)]
    accumulators[0].append(0)
    sites: Sites = []
    for block_idx in range(depth):
        accumulator = accumulators[(block_idx + 1) % dilation]
        assert len(accumulator) == (block_idx + 1) // dilation
        accumulator.append(block_idx + 1)
        if (block_idx + 1) % period == 0:
            assert len(accumulator) == (block_idx + 1 + dilation) // dilation
            sites.append((block_idx + 1, list(accumulator)))
    return sites


def _random_wiring(rng: random.Random) -> Wiring:
    depth = rng.randint(1, 10)
    blocks = sorted(rng.sample(range(1, depth + 1), rng.randint(0, depth)))
    return Wiring(
        depth,
        tuple(Site(block, (*sorted(rng.sample(range(block), rng.randint(0, block))), block)) for block in blocks),
    )


# By listing: 12 blocks.


def test_1x1_on_12_blocks_reads_everything_so_far() -> None:
    assert _listed(strided_wiring(12)) == [(i, list(range(i + 1))) for i in range(1, 13)]


def test_4x1_on_12_blocks_as_listed() -> None:
    assert _listed(strided_wiring(12, dilation=4)) == [
        (1, [1]),
        (2, [2]),
        (3, [3]),
        (4, [0, 4]),
        (5, [1, 5]),
        (6, [2, 6]),
        (7, [3, 7]),
        (8, [0, 4, 8]),
        (9, [1, 5, 9]),
        (10, [2, 6, 10]),
        (11, [3, 7, 11]),
        (12, [0, 4, 8, 12]),
    ]


def test_4x5_on_12_blocks_as_listed() -> None:
    assert _listed(strided_wiring(12, dilation=4, period=5)) == [(5, [1, 5]), (10, [2, 6, 10])]


def test_4x4_on_12_blocks_as_listed() -> None:
    assert _listed(strided_wiring(12, dilation=4, period=4)) == [
        (4, [0, 4]),
        (8, [0, 4, 8]),
        (12, [0, 4, 8, 12]),
    ]


# Closed forms.


@pytest.mark.parametrize(("dilation", "period", "number"), [(1, 1, 1224), (2, 1, 624), (4, 1, 324), (4, 5, 62)])
def test_connections_on_48_blocks_as_in_the_paper(dilation: int, period: int, number: int) -> None:
    assert strided_wiring(48, dilation=dilation, period=period).num_connections == number


@pytest.mark.parametrize("depth", range(1, 50))
def test_1x1_has_depth_times_depth_plus_3_over_2_connections(depth: int) -> None:
    assert strided_wiring(depth).num_connections == depth * (depth + 3) // 2


def test_strided_wiring_equals_the_packages_rule_everywhere() -> None:
    for depth in range(1, 17):
        for dilation in range(1, 19):
            for period in range(1, 19):
                found = strided_wiring(depth, dilation=dilation, period=period)
                assert _listed(found) == _package_rule(depth, dilation, period), (depth, dilation, period)
                assert found.num_connections == sum(
                    i // dilation + 1 for i in range(1, depth + 1) if i % period == 0
                ), (depth, dilation, period)


@pytest.mark.parametrize("depth", [1, 2, 7, 12])
def test_period_of_depth_gives_one_site_after_the_last_block(depth: int) -> None:
    assert _listed(strided_wiring(depth, period=depth)) == [(depth, list(range(depth + 1)))]


def test_period_above_depth_gives_no_site() -> None:
    assert strided_wiring(6, period=7) == Wiring(6)


# What is kept.


def _kept_by_simulation(wiring: Wiring) -> tuple[list[int], int]:
    """Returns last reads and the most states held, by looking ahead from every block."""
    last = [
        max((block for block, sources in wiring if state in sources), default=-1) for state in range(wiring.depth + 1)
    ]
    most = 1
    for now in range(1, wiring.depth + 1):
        held = {state for state in range(now) if any(block >= now and state in sources for block, sources in wiring)}
        most = max(most, len(held | {now}))
    return last, most


def test_last_reads_and_max_kept_states_equal_a_simulation() -> None:
    rng = random.Random(0)
    strided = [
        strided_wiring(depth, dilation=dilation, period=period)
        for depth in (1, 2, 5, 12)
        for dilation in (1, 2, 4)
        for period in (1, 3, 5)
    ]
    for wiring in (*strided, *(_random_wiring(rng) for _ in range(300))):
        last, most = _kept_by_simulation(wiring)
        assert (list(wiring.last_reads), wiring.max_kept_states) == (last, most), wiring


@pytest.mark.parametrize(
    ("dilation", "period", "most"),
    # 1x1 ends with all 13, 4x4 with 0, 4, 8 and 12; 4x5 holds 1, 2 and 5 at block 5 and 2, 6 and 10 at block 10.
    [(1, 1, 13), (4, 4, 4), (4, 5, 3)],
)
def test_max_kept_states_on_12_blocks(dilation: int, period: int, most: int) -> None:
    assert strided_wiring(12, dilation=dilation, period=period).max_kept_states == most


def test_plain_wiring_keeps_only_the_newest_state() -> None:
    assert Wiring(12).max_kept_states == 1
    assert Wiring(3).last_reads == (-1, -1, -1, -1)


def test_lone_sites_are_dropped_and_the_others_stay() -> None:
    assert _listed(strided_wiring(6, dilation=4).without_lone_sites()) == [(4, [0, 4]), (5, [1, 5]), (6, [2, 6])]


# Identity and errors.


def test_equal_wirings_are_equal_and_hash_alike_however_they_are_spelled() -> None:
    spelled = Wiring(12, ((4, [0, 4]), [8, (0, 4, 8)], Site(12, (0, 4, 8, 12))))  # type: ignore[arg-type]  # as read from a file
    assert spelled == strided_wiring(12, dilation=4, period=4)
    assert hash(spelled) == hash(strided_wiring(12, dilation=4, period=4))
    assert spelled != Wiring(13, spelled.sites)


@pytest.mark.parametrize(
    ("depth", "sites", "named"),
    [
        (0, (), "depth is 0"),
        (-3, (), "depth is -3"),
        (4, (Site(5, (0, 5)),), "after block 5"),
        (4, (Site(0, (0,)),), "after block 0"),
        (4, (Site(2, (2, 0)),), r"reads \[2, 0\]"),
        (4, (Site(2, (0, 1)),), r"reads \[0, 1\]"),
        (4, (Site(2, ()),), r"reads \[\]"),
        (4, (Site(2, (-1, 2)),), r"reads \[-1, 2\]"),
        (4, (Site(2, (0, 0, 2)),), r"reads \[0, 0, 2\]"),
        (4, (Site(2, (0, 2)), Site(2, (1, 2))), r"\[2, 2\]"),
        (4, (Site(3, (0, 3)), Site(2, (0, 2))), r"\[3, 2\]"),
    ],
)
def test_wiring_refuses_with_one_line_that_names_the_fault(depth: int, sites: tuple[Site, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        Wiring(depth, sites)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["depth", "dilation", "period"])
@pytest.mark.parametrize("value", [0, -2])
def test_strided_wiring_refuses_numbers_below_1(name: str, value: int) -> None:
    numbers = {"depth": 4, "dilation": 1, "period": 1, name: value}
    with pytest.raises(ValueError, match=f"^{name} is {value}: it must be a whole number of at least 1$"):
        strided_wiring(numbers["depth"], dilation=numbers["dilation"], period=numbers["period"])
