"""Wiring rules: their text, what each family reads, the whole grammar, and other depths."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from depthweave.spaces.wiring_families import FAMILIES
from depthweave.spaces.wiring_grammar import grammar
from depthweave.spaces.wiring_rules import WiringRule, edges_rule, rescaled_wiring, rule_family, simplest, strided_rule
from depthweave.spaces.wiring_text import parse_rule

_EDGES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=9
)


@st.composite
def _rules(draw: st.DrawFn) -> WiringRule:
    if draw(st.integers(0, 4)) == 0:
        return WiringRule(family="edges", edges=tuple(draw(_EDGES)))
    name = draw(st.sampled_from(sorted(FAMILIES)))
    least = FAMILIES[name].least
    return WiringRule(
        family=name,
        number=None if least is None else draw(st.integers(least, 30)),
        embed=draw(st.booleans()),
        period=draw(st.one_of(st.integers(1, 30), st.just("depth"))),
        start=draw(st.integers(1, 30)),
    )


@given(_rules())
@settings(max_examples=200, deadline=None)
def test_text_of_a_rule_parses_to_the_same_rule(rule: WiringRule) -> None:
    assert parse_rule(rule.text) == rule
    assert hash(parse_rule(rule.text)) == hash(rule)


@given(_rules(), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_rule_gives_a_wiring_exactly_where_it_says_that_it_fits(rule: WiringRule, depth: int) -> None:
    if rule.misfit(depth):
        with pytest.raises(ValueError, match="wiring"):
            rule.wiring(depth)
        return
    wiring = rule.wiring(depth)
    assert wiring.depth == depth
    assert rule.at(depth).wiring(depth) == wiring
    if not rule.is_plain_stride:
        assert wiring.sites == wiring.without_lone_sites().sites != ()


@given(_rules(), st.integers(1, 24))
@settings(max_examples=100, deadline=None)
def test_connections_of_any_wiring_are_a_rule(rule: WiringRule, depth: int) -> None:
    if rule.misfit(depth) or not rule.wiring(depth).without_lone_sites().sites:
        return
    wiring = rule.wiring(depth).without_lone_sites()
    listed = edges_rule(wiring)
    assert listed.wiring(depth) == wiring
    assert parse_rule(listed.text).wiring(depth) == wiring


def test_rule_goes_to_another_process_without_its_hash() -> None:
    rule = parse_rule("window:3@2 from:7")
    assert hash(rule) == hash(pickle.loads(pickle.dumps(rule)))
    assert set(vars(pickle.loads(pickle.dumps(rule)))) == {item.name for item in dataclasses.fields(WiringRule)}
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_huge_numbers_take_no_time() -> None:
    for text in ("first:9007199254740992", "window:9007199254740992", "anchors:9007199254740992"):
        assert parse_rule(text).wiring(6) == strided_wiring(6)
    assert parse_rule("9007199254740992x9007199254740992").wiring(6).sites == ()


def _sources(text: str, depth: int) -> dict[int, list[int]]:
    """Returns what each site reads beside its own state."""
    return {block: list(sources[:-1]) for block, sources in parse_rule(text).wiring(depth)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("first:2", {1: [0], 2: [0, 1], 3: [0, 1], 4: [0, 1], 5: [0, 1], 6: [0, 1]}),
        ("window:3", {1: [0], 2: [0, 1], 3: [1, 2], 4: [2, 3], 5: [3, 4], 6: [4, 5]}),
        ("pow2", {1: [0], 2: [0, 1], 3: [1, 2], 4: [0, 2, 3], 5: [1, 3, 4], 6: [2, 4, 5]}),
        ("mirror", {4: [2], 5: [1], 6: [0]}),
        ("mirror+embed", {4: [0, 2], 5: [0, 1], 6: [0]}),
        ("anchors:3", {1: [0], 2: [0], 3: [0, 2], 4: [0, 2], 5: [0, 2, 4], 6: [0, 2, 4]}),
        ("one:2", {3: [2], 4: [2], 5: [2], 6: [2]}),
        ("one:2+embed", {3: [0, 2], 4: [0, 2], 5: [0, 2], 6: [0, 2]}),
        ("embed", {1: [0], 2: [0], 3: [0], 4: [0], 5: [0], 6: [0]}),
        ("skip:1-5", {5: [1]}),
        ("edges:0-3+2-6", {3: [0], 6: [2]}),
        ("edges:2-6+0-6", {6: [0, 2]}),
        ("3x1+embed", {3: [0], 4: [0, 1], 5: [0, 2], 6: [0, 3]}),
        ("1x2 from:3", {4: [0, 1, 2, 3], 6: [0, 1, 2, 3, 4, 5]}),
        ("first:2@2", {2: [0, 1], 4: [0, 1], 6: [0, 1]}),
        ("window:2@depth", {6: [5]}),
        ("embed@2 from:3", {4: [0], 6: [0]}),
    ],
)
def test_what_each_site_reads_by_hand_with_6_blocks(text: str, wanted: dict[int, list[int]]) -> None:
    assert _sources(text, 6) == wanted


def test_what_each_site_reads_by_hand_with_12_blocks() -> None:
    assert _sources("mirror", 12) == {7: [5], 8: [4], 9: [3], 10: [2], 11: [1], 12: [0]}
    assert _sources("pow2@4", 12) == {4: [0, 2, 3], 8: [0, 4, 6, 7], 12: [4, 8, 10, 11]}
    assert _sources("anchors:3 from:11", 12) == {11: [0, 4, 8], 12: [0, 4, 8]}
    assert _sources("anchors:5 from:12", 12) == {12: [0, 2, 4, 7, 9]}
    assert _sources("first:2 from:7", 12) == {block: [0, 1] for block in range(7, 13)}
    assert _sources("mirror", 5) == {3: [2], 4: [1], 5: [0]}


@pytest.mark.parametrize(("dilation", "period"), [(1, 1), (4, 5), (5, 2), (1, 12), (20, 1), (2, 30)])
def test_k_x_p_is_the_strided_wiring_as_it_was(dilation: int, period: int) -> None:
    for depth in (1, 6, 12):
        made = parse_rule(f"{dilation}x{period}").wiring(depth)
        assert made == strided_wiring(depth, dilation=dilation, period=period)
    assert parse_rule(f"{dilation}xdepth").wiring(12) == strided_wiring(12, dilation=dilation, period=12)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("one:0", "embed"),
        ("first:1", "embed"),
        ("anchors:1@2", "embed@2"),
        ("embed+embed", "embed"),
        ("first:2+embed", "first:2"),
        ("1x4+embed", "1x4"),
        ("first:2@1 from:1", "first:2"),
        ("edges:2-7", "skip:2-7"),
        ("edges:7-2+3-0", "edges:0-3+2-7"),
        ("edges:0-3+0-3", "skip:0-3"),
        (" 4x5 ", "4x5"),
    ],
)
def test_spellings_of_one_rule_have_one_text(text: str, wanted: str) -> None:
    assert parse_rule(text).text == wanted


def test_edges_of_a_spec_are_pairs_of_site_and_source() -> None:
    rule = parse_rule({"edges": [[3, 0], [7, 2]]})
    assert rule.wiring(12).sites == (Site(3, (0, 3)), Site(7, (2, 7)))
    assert rule.text == "edges:0-3+2-7"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("4x", "wiring '4x' is not known: write dilation and period as KxP"),
        ("frist:2", "wiring 'frist:2' is not known: did you mean 'first:N'\\? Known: KxP, embed, first:N"),
        ("miror@2", "did you mean 'mirror'"),
        ("first", "wiring 'first': first takes a whole number of at least 1, such as :2"),
        ("first:two", "first takes a whole number of at least 1"),
        ("pow2:3", "pow2 takes no number"),
        ("window:1", "wiring 'window:1': the number is 1: give a whole number from 2 to"),
        ("0x1", "the dilation is 0: give a whole number from 1"),
        ("4x0", "the period is 0: give a whole number from 1"),
        ("4x5@2", "KxP has its period already: write 4x2"),
        ("first:2@4+embed", "write \\+embed, @P and from:B in this order, such as"),
        ("first:2 from:0", "from is 0: give a whole number from 1"),
        ("first:9999999999999999", "the number is 9999999999999999: give a whole number from 1 to 9007199254740992"),
        (f"first:{10**40}", "first takes a whole number of at least 1"),
        ("skip:3", "write each connection as SOURCE-SITE, such as skip:3-9"),
        ("skip:3-9+1-4", "wiring skip has 2 connections: give one, or take edges"),
        ("edges:0-3@2", "write each connection as SOURCE-SITE"),
        ("edges:3-3", "wiring has a connection 3-3: give two different whole numbers"),
        ("strided:4", "wiring 'strided:4' is not known"),
        (4, "wiring 4 is not known"),
        (None, "wiring None is not known"),
        ({"edges": [3]}, "wiring edges has 3: list pairs of whole numbers, \\[site, source\\]"),
        ({"edges": [[True, 0]]}, "list pairs of whole numbers"),
        ({"edges": 3}, "wiring edges has 3: list pairs"),
        ({"edges": []}, "wiring edges is empty: list at least one"),
        ({"edgse": []}, "is not known"),
    ],
)
def test_rule_that_cannot_be_is_one_line(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_rule(given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "depth", "message"),
    [
        ("one:8", 6, "wiring one:8 has no site at depth 6: take a larger depth"),
        ("first:2 from:8", 6, "depth 6: take a larger depth, or an earlier block after from:"),
        ("first:2@8", 6, "wiring first:2@8 has no site at depth 6"),
        ("skip:3-9", 6, "wiring skip:3-9 has a site after block 9: depth is 6"),
        ("edges:0-1+2-7", 6, "has a site after block 7: depth is 6"),
    ],
)
def test_rule_says_why_it_does_not_fit_a_depth(text: str, depth: int, message: str) -> None:
    assert message in parse_rule(text).misfit(depth)
    with pytest.raises(ValueError, match=message.replace("+", "\\+")):
        parse_rule(text).wiring(depth)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("first:2", "first two states, every block"),
        ("4x5", "every 4th state, every 5 blocks"),
        ("1x1", "all states, every block"),
        ("2x12", "every 2nd state, after the last block"),
        ("pow2+embed", "states 1, 2, 4, ... back and the embedding, every block"),
        ("mirror", "mirror image, every block of the upper half"),
        ("window:3@2 from:7", "last three states, every 2 blocks, from block 7"),
        ("one:5", "state 5, every later block"),
        ("embed@depth", "embedding, after the last block"),
        ("skip:3-9", "state 3 once, at block 9"),
        ("edges:0-3+2-7", "connections 0 to 3, 2 to 7"),
        ("edges:0-3+1-3+0-7+2-7", "4 connections at 2 sites"),
    ],
)
def test_phrase_says_what_is_read_and_where(text: str, phrase: str) -> None:
    assert parse_rule(text).phrase_at(12) == phrase


def test_phrase_without_a_depth_and_families() -> None:
    assert parse_rule("2x12").phrase == "every 2nd state, every 12 blocks"
    assert [rule_family(parse_rule(text)) for text in ("4x5", "4x5+embed", "pow2@2", "edges:0-3+2-7")] == [
        "k×p",
        "k×p",
        "pow2",
        "edges",
    ]
    assert rule_family(None) == "none"


@pytest.mark.parametrize(("depth", "number"), [(1, 1), (6, 281), (12, 1310), (24, 2455)])
def test_grammar_has_each_graph_once(depth: int, number: int) -> None:
    rules = grammar(depth)
    graphs = [rule.wiring(depth).without_lone_sites() for rule in rules]
    assert len(rules) == len(set(graphs)) == number
    assert len({rule.text for rule in rules}) == number


def test_simplest_name_of_a_graph() -> None:
    names = {rule.wiring(12).without_lone_sites(): rule.text for rule in grammar(12)}
    assert names[parse_rule("first:12").wiring(12)] == "1x1"
    assert names[parse_rule("anchors:2 from:12").wiring(12)] == "6x12"
    chosen = simplest([parse_rule("window:12+embed"), strided_rule(1, 12), strided_rule(1, 1)])
    assert chosen == strided_rule(1, 12), "the first KxP, as listed"
    assert simplest([parse_rule("one:3+embed"), parse_rule("first:4"), parse_rule("pow2@3")]).text == "first:4"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4x5", "4x5"),
        ("4x12", "4x24"),
        ("4xdepth", "4x24"),
        ("first:2@3 from:7", "first:2@3 from:13"),
        ("one:5+embed", "one:10+embed"),
        ("anchors:3", "anchors:3"),
        ("skip:3-9", "skip:6-18"),
        ("edges:0-3+2-7", "edges:0-6+4-14"),
    ],
)
def test_rule_at_another_depth(text: str, wanted: str) -> None:
    rule = parse_rule(text).rescaled(depth=12, to=24)
    assert rule.text == wanted
    assert not rule.misfit(24)


def test_connections_that_shrink_to_nothing_are_refused() -> None:
    assert parse_rule("edges:0-1+2-11").rescaled(depth=12, to=6).text == "edges:0-1+1-6"
    with pytest.raises(ValueError, match="depth is 2: wiring skip:6-7 has no connection left there"):
        parse_rule("skip:6-7").rescaled(depth=12, to=2)


def test_wiring_without_a_rule_moves_in_proportion() -> None:
    wiring = Wiring(12, (Site(3, (0, 3)), Site(4, (2, 4)), Site(12, (5, 12))))
    assert rescaled_wiring(wiring, depth=24).sites == (Site(6, (0, 6)), Site(8, (4, 8)), Site(24, (10, 24)))
    # Blocks 3 and 4 meet at block 2 of 6.
    assert rescaled_wiring(wiring, depth=6).sites == (Site(2, (0, 1, 2)), Site(6, (3, 6)))
    assert rescaled_wiring(wiring, depth=12) == wiring
