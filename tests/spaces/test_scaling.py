"""The same wiring rule at another size: what stays, what follows, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.scaling import resize
from depthweave.spaces.wiring import Site, Wiring
from depthweave.spaces.wiring_rules import WiringRule
from depthweave.spaces.wiring_text import parse_rule


def _made(fusion: str = "dwa", *, depth: int = 12, rule: WiringRule | None = None, **sizes: Any) -> Architecture:
    wiring = Wiring(depth) if rule is None else rule.wiring(depth)
    values = {"width": 64, "heads": 2, "feed_forward": 160, "vocabulary": 256, "context": 128, **sizes}
    return Architecture(fusion=fusion, wiring=wiring, **values)


def test_nothing_asked_for_is_the_same_architecture() -> None:
    rule = parse_rule("4x5")
    assert resize(_made(rule=rule), rule=rule) == (_made(rule=rule), rule, "")


@pytest.mark.parametrize("fusion", ["dwa", "dwatt", "concat"])
@pytest.mark.parametrize("rule", [parse_rule("1x1"), parse_rule("4x5"), parse_rule("2x3")])
def test_pattern_stays_and_heads_and_feed_forward_follow_the_width(fusion: str, rule: WiringRule) -> None:
    resized, kept, _ = resize(_made(fusion, rule=rule), rule=rule, width=512, depth=24)
    wanted = _made(fusion, depth=24, rule=rule, width=512, heads=16, feed_forward=1280)
    assert (resized, kept) == (wanted, rule)


def test_one_site_after_the_last_block_stays_there() -> None:
    rule = parse_rule("1x12")
    resized, kept, _ = resize(_made("dwatt", rule=rule), rule=rule, depth=24)
    assert kept == parse_rule("1x24")
    assert [site.block for site in resized.wiring] == [24]


def test_plain_transformer_needs_no_pattern() -> None:
    assert resize(_made("none"), rule=None, depth=3) == (_made("none", depth=3), None, "")


def test_wiring_of_any_kind_takes_another_width() -> None:
    odd = Architecture.from_dict({**_made().to_dict(), "fusion": "dwa", "sites": [[2, [0, 2]], [9, [3, 9]]]})
    resized, _, _ = resize(odd, rule=None, width=128)
    assert resized.wiring == odd.wiring
    assert resized.width == 128


@pytest.mark.parametrize(
    ("rule", "asked", "message"),
    [
        (parse_rule("1x1"), {"width": 500}, "width is 500: it must be a multiple of 32, .*: take 480 or 512$"),
        (parse_rule("1x1"), {"width": 16}, "width is 16: .*: take 32$"),
        (parse_rule("1x1"), {"depth": 0}, "depth is 0: it must be a whole number of at least 1"),
        (parse_rule("2x1"), {"depth": 24}, "are not those of 2x1: correct the rule under `pattern`"),
    ],
)
def test_size_that_cannot_be_is_one_line(rule: WiringRule | None, asked: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        resize(_made(rule=parse_rule("1x1")), rule=rule, **asked)
    assert "\n" not in str(error.value)


def test_depth_without_room_for_a_site_is_refused() -> None:
    rule = parse_rule("1x4")
    with pytest.raises(ValueError, match="dwa with 1x4 has no site there: take a larger depth"):
        resize(_made(rule=rule), rule=rule, depth=3)


@pytest.mark.parametrize("fusion", ["dwa", "dwatt", "concat"])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [("first:2", "first:2"), ("mirror@2 from:7", "mirror@2 from:13"), ("one:5", "one:10"), ("skip:3-9", "skip:6-18")],
)
def test_wiring_of_any_rule_follows_its_rule(fusion: str, text: str, wanted: str) -> None:
    resized, kept, note = resize(_made(fusion, rule=parse_rule(text)), rule=parse_rule(text), depth=24)
    assert (resized, kept) == (_made(fusion, depth=24, rule=parse_rule(wanted)), parse_rule(wanted))
    assert note == ""


def test_wiring_without_a_rule_moves_in_proportion_and_says_so() -> None:
    odd = Architecture.from_dict({**_made().to_dict(), "fusion": "dwa", "sites": [[2, [0, 2]], [9, [3, 9]]]})
    resized, kept, note = resize(odd, rule=None, depth=24)
    assert resized.wiring.sites == (Site(4, (0, 4)), Site(18, (6, 18)))
    assert kept is None
    assert note == (
        f"no rule is known for the wiring of architecture {odd.id}: each site and source i of 12 blocks is moved to "
        "round(i * 24 / 12)"
    )


def test_rule_that_made_another_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="are not those of one:20"):
        resize(_made(rule=parse_rule("1x1")), rule=parse_rule("one:20"), depth=24)
