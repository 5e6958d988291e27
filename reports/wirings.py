"""Names of the wiring of a record: its rule, its family, and a phrase.

Records of earlier versions have a dilation and a period in place of the text of a rule.
"""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from typing import Literal

from depthweave.reports.store.records import Record
from depthweave.spaces.plain_names import is_plain_name
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_rules import WiringRule, edges_rule, rule_family, strided_rule
from depthweave.spaces.wiring_text import parse_rule

NO_FAMILY = "none"
"""The family of architectures whose wiring says nothing: without a fusion, or with one that has a single wiring."""
Marker = int | Literal["other"] | None
"""What a marker's shape says: the period of KxP, `other` for other wirings, `None` where there is nothing to say."""


def shows_wiring(record: Record) -> bool:
    """Returns whether the record's wiring says something: `hc2` has the same graph under each of its rules."""
    return not has_one_wiring(record.fusion)


def rule_of(record: Record) -> WiringRule | None:
    """Returns the rule that made the record's wiring; `None` without a fusion, or where no rule is known."""
    if is_plain_name(record.fusion):
        return None
    return _rule(record.rule, record.dilation, record.period)


def rule_at_any_depth(record: Record) -> WiringRule | None:
    """Returns the rule in a form that is the same at any depth; the list of connections where no rule is known."""
    if not shows_wiring(record):
        return None
    rule = rule_of(record)
    if rule is None:
        wiring = Wiring(record.depth, tuple(json.loads(record.wiring))).without_lone_sites()
        return edges_rule(wiring) if wiring.sites else None
    return dataclasses.replace(rule, period="depth") if rule.period == record.depth else rule


def family_of_record(record: Record) -> str:
    """Returns a name that groups wirings: "k×p", "first", ...; `NO_FAMILY` where it says nothing, "edges" without a
    rule."""
    if not shows_wiring(record):
        return NO_FAMILY
    rule = rule_of(record)
    return "edges" if rule is None else rule_family(rule)


def wiring_name(record: Record) -> str:
    """Returns a short name: "4×1" (dilation × period), "first:2", "24 connections"; empty where it says nothing."""
    if not shows_wiring(record):
        return ""
    return rule_name(rule_of(record)) or record.rule or connections_text(record)


def rule_name(rule: WiringRule | None) -> str:
    """Returns the short name of a rule: "4×1" (dilation × period), "first:2", "24 connections"; empty for `None`."""
    if rule is None:
        return ""
    return f"{rule.number}×{rule.period}" if rule.is_plain_stride else rule.short


def wiring_phrase(record: Record) -> str:
    """Returns the wiring in words: "first two states, every block"; empty where it says nothing."""
    if not shows_wiring(record):
        return ""
    rule = rule_of(record)
    return connections_text(record) if rule is None else rule.phrase_at(record.depth)


def connections_text(record: Record) -> str:
    """Returns the number of connections from earlier states: "24 connections"."""
    number = sum(len(sources) - 1 for _, sources in json.loads(record.wiring))
    return f"{number} connection" + ("" if number == 1 else "s")


def marker_of(record: Record) -> Marker:
    """Returns what the record's marker says."""
    if not shows_wiring(record):
        return None
    rule = rule_of(record)
    if rule is None:
        return "other"
    return "other" if rule.stride is None else rule.stride.period


@lru_cache(maxsize=2**14)
def _rule(text: str | None, dilation: int | None, period: int | None) -> WiringRule | None:
    if text is None:
        return None if dilation is None or period is None else strided_rule(dilation, period)
    try:
        return parse_rule(text)
    except ValueError:
        # Of a later version: its text is shown as it is.
        return None
