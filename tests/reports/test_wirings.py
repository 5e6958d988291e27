"""Names of the wirings of records: with a rule, from an earlier version, and without any."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from depthweave.reports.comparison.agreement import effects, order_of
from depthweave.reports.export.card import pattern_text
from depthweave.reports.figures.importance import importance_of
from depthweave.reports.figures.key import key_of, outline_of
from depthweave.reports.figures.palette import symbol_of
from depthweave.reports.figures.patterns import pattern_grids
from depthweave.reports.formatting import full_name, short_name
from depthweave.reports.store.records import Record
from depthweave.reports.terminal.table import front_rows, front_table
from depthweave.reports.wirings import family_of_record, marker_of, rule_of, wiring_name, wiring_phrase
from depthweave.spaces.wiring_text import parse_rule
from tests.reports.synthetic import make_record


def _record(trial: int, text: str | None, **changes: Any) -> Record:
    """A record whose wiring has this rule; plain without one."""
    depth = changes.get("depth", 12)
    if text is None:
        return make_record(trial, fusion="none", dilation=None, period=None, wiring="[]", **changes)
    rule = parse_rule(text)
    stride = rule.stride
    wiring = [[site.block, list(site.sources)] for site in rule.wiring(depth)]
    values = {"rule": rule.text, "dilation": stride and stride.dilation, "period": stride and stride.period}
    return make_record(trial, **{**values, "wiring": json.dumps(wiring), **changes})


def _shown(table: Table) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_record_of_any_family_has_name_phrase_family_and_marker() -> None:
    record = _record(0, "first:2@2")
    assert (short_name(record), full_name(record)) == ("dwa first:2@2", "dwa first:2@2, 12 blocks")
    assert wiring_phrase(record) == "first two states, every 2 blocks"
    assert (family_of_record(record), marker_of(record)) == ("first", "other")
    assert symbol_of(marker_of(record)) == "octagon"
    assert outline_of("octagon").startswith("M")


def test_record_of_an_earlier_version_has_the_rule_of_its_dilation_and_period() -> None:
    old, new = make_record(0), _record(1, "4x5")
    assert old.rule is None
    assert rule_of(old) == rule_of(new) == parse_rule("4x5")
    assert short_name(old) == short_name(new) == "dwa 4×5"
    assert (family_of_record(old), marker_of(old)) == ("k×p", 5)
    plain = _record(2, None)
    assert (rule_of(plain), wiring_name(plain), wiring_phrase(plain), marker_of(plain)) == (None, "", "", None)
    assert family_of_record(plain) == "none"


def test_record_without_a_known_rule_has_the_number_of_its_connections() -> None:
    wiring = "[[3, [0, 3]], [7, [0, 2, 7]]]"
    record = make_record(0, dilation=None, period=None, wiring=wiring)
    assert (rule_of(record), short_name(record), family_of_record(record)) == (None, "dwa 3 connections", "edges")
    # As a later version may write it.
    later = make_record(0, dilation=None, period=None, wiring=wiring, rule="spiral:3")
    assert (rule_of(later), short_name(later)) == (None, "dwa spiral:3")
    many = _record(0, "edges:0-3+1-3+0-7+2-7")
    assert (short_name(many), wiring_phrase(many)) == ("dwa 4 connections", "4 connections at 2 sites")


def test_terminal_names_and_explains_the_rule() -> None:
    records = [
        _record(0, None, latency=1.0, loss=1.4, perplexity=4.1),
        _record(1, "first:2", latency=1.1, loss=1.3, perplexity=3.9),
        _record(2, "4x1", latency=1.2, loss=1.2, perplexity=3.7),
    ]
    shown = _shown(front_table(records, objectives=("perplexity", "latency")))
    assert "fusion wiring" in shown
    assert "dwa first:2" in shown
    assert "first:2: first two states, every block" in shown
    rows = front_rows(records, objectives=("perplexity", "latency"))
    assert {row["rule"]: (row["dilation"], row["period"]) for row in rows} == {
        None: (None, None),
        "first:2": (None, None),
        "4x1": (4, 1),
    }
    strided = _shown(front_table([records[0], make_record(3)], objectives=("perplexity", "latency")))
    assert "fusion k×p" in strided


def test_key_has_one_symbol_for_other_wirings() -> None:
    records = [_record(0, "4x5"), _record(1, "first:2"), _record(2, None)]
    texts = [entry.text for group in key_of(records) for entry in group]
    assert texts[:4] == ["fusion none", "dwa", "period 5", "other wiring"]


def test_tables_by_dilation_and_period_have_the_other_families_beside_them() -> None:
    records = [
        _record(0, None, loss=1.40),
        _record(1, "4x1", loss=1.38),
        _record(2, "first:2", loss=1.35, last_loss=1.35),
        _record(3, "first:3", loss=1.30, last_loss=1.30),
        _record(4, "mirror", loss=1.41, last_loss=1.41),
    ]
    strided, others = pattern_grids(records)
    assert (strided.title, strided.columns) == ("dwa, 12 blocks", ["k 4"])
    assert others.title == "dwa, 12 blocks, other wirings"
    assert [(row.name, row.cells[0].more, row.cells[1].text, row.cells[2].text) for row in others.rows] == [
        ("first", "-0.100", "first:3", "2"),
        ("mirror", "+0.010", "mirror", "1"),
    ]
    assert others.rows[0].cells[0].share == pytest.approx(-1.0)


def test_importance_has_the_family_where_it_varies() -> None:
    texts = [
        None,
        "4x1",
        "2x1",
        "1x1",
        "first:2",
        "first:3",
        "mirror",
        "embed",
        "pow2",
        "one:3",
        "window:3",
        "1x2",
        "2x2",
    ]
    records = [_record(number, text, loss=1.3 + 0.01 * (text == "embed")) for number, text in enumerate(texts)]
    found = importance_of(records, objective="loss")
    assert found is not None
    assert found.shares["family"] == max(found.shares.values())
    strided = [_record(number, text, loss=1.3 + 0.01 * number) for number, text in enumerate([None, "4x1", "1x1"] * 5)]
    only = importance_of(strided, objective="loss")
    assert only is not None
    assert "family" not in only.shares


def test_runs_are_compared_by_rule() -> None:
    first = [_record(0, None), _record(1, "first:2", loss=1.3), _record(2, "1x12", loss=1.2)]
    second = [_record(0, None, depth=6), _record(1, "first:2", loss=1.3, depth=6), _record(2, "1x6", loss=1.1, depth=6)]
    units = [unit.name for unit in effects(first, objective="loss", by=())]
    assert units == ["none", "dwa first:2", "dwa 1×depth"]
    order = order_of(first, second, objective="loss")
    assert {item.unit.name for item in order.matched} == set(units)
    old = [_record(0, None), make_record(1, loss=1.3)]
    new = [_record(0, None), _record(1, "4x5", loss=1.3)]
    matched = order_of(old, new, objective="loss").matched
    assert {item.unit.name for item in matched} == {"none", "dwa 4×5, 12 blocks"}


def test_card_says_the_rule_and_what_it_means() -> None:
    assert pattern_text("dwa", parse_rule("4x1"), depth=12, width=48) == (
        "fusion `dwa`, dilation 4, period 1, 12 blocks of width 48"
    )
    assert pattern_text("dwa", parse_rule("first:2"), depth=12, width=48) == (
        "fusion `dwa`, wiring `first:2` (first two states, every block), 12 blocks of width 48"
    )
    assert pattern_text("hc2", parse_rule("4x1"), depth=12, width=48) == "fusion `hc2`, 12 blocks of width 48"
    assert pattern_text("none", None, depth=12, width=48) == "fusion `none`, 12 blocks of width 48"


def test_fusion_with_one_wiring_has_no_wiring_in_its_name() -> None:
    first, second = _record(0, "mirror", fusion="hc2"), _record(1, "1x1", fusion="hc2")
    assert short_name(first) == short_name(second) == "hc2"
    assert (family_of_record(first), marker_of(first), wiring_phrase(first)) == ("none", None, "")
    assert pattern_grids([first, second]) == []
