"""The same pattern at another size: what stays, what follows, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.scaling import resize
from depthweave.spaces.space import Pattern
from depthweave.spaces.wiring import Wiring, strided_wiring


def _made(fusion: str = "dwa", *, depth: int = 12, pattern: Pattern | None = None, **sizes: Any) -> Architecture:
    wiring = Wiring(depth) if pattern is None else strided_wiring(depth, **pattern._asdict())
    values = {"width": 64, "heads": 2, "feed_forward": 160, "vocabulary": 256, "context": 128, **sizes}
    return Architecture(fusion=fusion, wiring=wiring, **values)


def test_nothing_asked_for_is_the_same_architecture() -> None:
    pattern = Pattern(4, 5)
    assert resize(_made(pattern=pattern), pattern=pattern) == (_made(pattern=pattern), pattern)


@pytest.mark.parametrize("fusion", ["dwa", "dwatt", "concat"])
@pytest.mark.parametrize("pattern", [Pattern(1, 1), Pattern(4, 5), Pattern(2, 3)])
def test_pattern_stays_and_heads_and_feed_forward_follow_the_width(fusion: str, pattern: Pattern) -> None:
    resized, kept = resize(_made(fusion, pattern=pattern), pattern=pattern, width=512, depth=24)
    wanted = _made(fusion, depth=24, pattern=pattern, width=512, heads=16, feed_forward=1280)
    assert (resized, kept) == (wanted, pattern)


def test_one_site_after_the_last_block_stays_there() -> None:
    pattern = Pattern(1, 12)
    resized, kept = resize(_made("dwatt", pattern=pattern), pattern=pattern, depth=24)
    assert kept == (1, 24)
    assert [site.block for site in resized.wiring] == [24]


def test_plain_transformer_needs_no_pattern() -> None:
    assert resize(_made("none"), pattern=None, depth=3) == (_made("none", depth=3), None)


def test_wiring_of_any_kind_takes_another_width() -> None:
    odd = Architecture.from_dict({**_made().to_dict(), "fusion": "dwa", "sites": [[2, [0, 2]], [9, [3, 9]]]})
    resized, _ = resize(odd, pattern=None, width=128)
    assert resized.wiring == odd.wiring
    assert resized.width == 128


@pytest.mark.parametrize(
    ("pattern", "asked", "message"),
    [
        (Pattern(1, 1), {"width": 500}, "width is 500: it must be a multiple of 32, .*: take 480 or 512$"),
        (Pattern(1, 1), {"width": 16}, "width is 16: .*: take 32$"),
        (Pattern(1, 1), {"depth": 0}, "depth is 0: it must be a whole number of at least 1"),
        (None, {"depth": 24}, "does not say which dilation and period made its wiring: write them into the file"),
        (Pattern(2, 1), {"depth": 24}, "are not those of dilation 2 and period 1: correct the pattern"),
    ],
)
def test_size_that_cannot_be_is_one_line(pattern: Pattern | None, asked: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        resize(_made(pattern=Pattern(1, 1)), pattern=pattern, **asked)
    assert "\n" not in str(error.value)


def test_depth_without_room_for_a_site_is_refused() -> None:
    pattern = Pattern(1, 4)
    with pytest.raises(ValueError, match="dwa with dilation 1 and period 4 has no site there: take a larger depth"):
        resize(_made(pattern=pattern), pattern=pattern, depth=3)
