"""Which architectures of a run are one pattern at several sizes.

A pattern is a fusion with its wiring rule. Where a depth was trained at two budgets, a pattern is followed over the
budgets of that depth, so that nothing but the size changes. Where each budget has a depth of its own, it is followed
across depths: the same rule, or else the rule with its block numbers moved in proportion (block i of L to i L' / L).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from depthweave.reports.store.records import Record
from depthweave.reports.wirings import rule_at_any_depth
from depthweave.spaces.wiring_rules import WiringRule


class PatternKey(NamedTuple):
    """What the architectures of one pattern have in common."""

    depth: int | None
    """`None` where patterns are followed across depths."""
    fusion: str
    rule: WiringRule | None


class Member(NamedTuple):
    """An architecture of a pattern, and the plain one of its depth and budget."""

    record: Record
    plain: Record

    @property
    def parameters(self) -> int:
        """Its size: the budget, or the plain architecture's parameters where there is none."""
        return self.plain.budget or self.plain.parameters


def members_of(records: Sequence[Record]) -> dict[PatternKey, list[Member]]:
    """Returns the members of each pattern and of plain, each beside the plain architecture of its depth and budget."""
    plain = {(it.depth, it.budget): it for it in records if it.fusion == "none"}
    everyone = [Member(it, plain[it.depth, it.budget]) for it in records if (it.depth, it.budget) in plain]
    depths = _depths_with_several_sizes(everyone)
    members: dict[PatternKey, list[Member]] = defaultdict(list)
    for own in everyone:
        if not depths or own.record.depth in depths:
            depth = own.record.depth if depths else None
            members[PatternKey(depth, own.record.fusion, rule_at_any_depth(own.record))].append(own)
    return dict(members) if depths else _joined_across_depths(members)


def _depths_with_several_sizes(members: Sequence[Member]) -> set[int]:
    sizes: dict[int, set[int]] = defaultdict(set)
    for own in members:
        sizes[own.record.depth].add(own.parameters)
    return {depth for depth, own in sizes.items() if len(own) > 1}


def _joined_across_depths(members: Mapping[PatternKey, list[Member]]) -> dict[PatternKey, list[Member]]:
    """Returns the patterns with the rules joined that are each other's images at another depth.

    A rule that is at several depths itself is joined with none.
    """
    joined = dict(members)
    depths_of = {key: {it.record.depth for it in own} for key, own in members.items()}
    alone = {key: min(depths) for key, depths in depths_of.items() if len(depths) == 1}
    every_depth = sorted(set(alone.values()))
    for key, depth in sorted(alone.items(), key=lambda item: item[1]):
        for other_depth in (it for it in every_depth if it > depth):
            if key not in joined or (image := _image(key, depth=depth, to=other_depth)) is None:
                continue
            if image != key and alone.get(image) == other_depth and image in joined:
                joined[key] = joined[key] + joined.pop(image)
    return joined


def _image(key: PatternKey, *, depth: int, to: int) -> PatternKey | None:
    """Returns the pattern at another depth; `None` where no connection is left there."""
    if key.rule is None:
        return None
    try:
        rule = key.rule.rescaled(depth=depth, to=to)
    except ValueError:
        return None
    return key._replace(rule=dataclasses.replace(rule, period="depth") if rule.period == to else rule)
