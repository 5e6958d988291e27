"""Whether two runs rank the connectivity patterns alike: a rank correlation with an interval over patterns.

A pattern is a fusion with its wiring rule. Its effect is the ratio of its value to that of the plain
architecture of the same depth and budget in the same run. Orders of runs with different corpora, sizes and machines can
be compared, although their values cannot. The plain architecture is included, with a ratio of one.

The coefficient and its interval are those of `rank_agreement`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.rank_agreement import RankVerdict, kendall_tau, rank_verdict, tau_interval
from depthweave.reports.analysis.seeds import size_of
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import rule_at_any_depth, rule_name
from depthweave.spaces.plain_names import is_plain_name
from depthweave.spaces.wiring_rules import WiringRule

Sameness = Literal["a pattern at one depth and budget", "a pattern at one depth", "a pattern at any size"]
_LEVELS: dict[Sameness, tuple[str, ...]] = {
    "a pattern at one depth and budget": ("depth", "budget"),
    "a pattern at one depth": ("depth",),
    "a pattern at any size": (),
}
"""What two matched items have in common, the finest first."""


class Unit(NamedTuple):
    """What is ranked: a pattern, at one depth and budget or at any."""

    fusion: str
    rule: WiringRule | None
    """Its period is `depth` if the only site is after the last block, at any depth."""
    depth: int | None
    budget: int | None

    @property
    def name(self) -> str:
        """ "dwa 4×1", "dwatt 1×depth, 12 blocks", "dwa first:2"."""
        return f"{self.fusion} {rule_name(self.rule)}".strip() + (
            "" if self.depth is None else f", {self.depth} blocks"
        )


class Matched(NamedTuple):
    """A unit that both runs have, with its ratio to plain in each."""

    unit: Unit
    first: float
    second: float


class Order(NamedTuple):
    """How much two runs agree on the order of patterns in one objective."""

    objective: str
    sameness: Sameness
    matched: list[Matched]
    """Sorted by the first run's ratio, the best first; plain is included."""
    tau: float | None
    """`None` if fewer than two units can be ranked."""
    low: float | None
    high: float | None
    """Ends of the 95 % interval; `None` with fewer than `MIN_PATTERNS`."""

    @property
    def verdict(self) -> RankVerdict:
        """The conclusion that the interval supports."""
        return rank_verdict(self.low, self.high)


def order_of(first: Sequence[Record], second: Sequence[Record], *, objective: str) -> Order:
    """Returns both runs' orders in one objective, at the level that matches the most units.

    The records are averaged over seeds (`RunView.averaged`).
    """
    found: tuple[Sameness, list[Matched]] = ("a pattern at any size", [])
    for sameness, by in _LEVELS.items():
        mine, other = effects(first, objective=objective, by=by), effects(second, objective=objective, by=by)
        shared = [Matched(unit, mine[unit], other[unit]) for unit in mine.keys() & other.keys()]
        if len(shared) > len(found[1]):
            found = (sameness, shared)
    sameness, matched = found
    matched.sort(key=lambda item: (item.first, item.unit.name))
    values = np.array([[item.first, item.second] for item in matched]).reshape(-1, 2)
    low, high = tau_interval(values[:, 0], values[:, 1]) or (None, None)
    return Order(objective, sameness, matched, kendall_tau(values[:, 0], values[:, 1]), low, high)


def effects(records: Sequence[Record], *, objective: str, by: Sequence[str]) -> dict[Unit, float]:
    """Returns each unit's ratio to plain: the geometric mean over depths and budgets that are not in `by`."""
    finished = [record for record in records if record.state == "complete"]
    plain = {
        size_of(record): value
        for record in finished
        if is_plain_name(record.fusion) and (value := value_of(record, objective))
    }
    logs: dict[Unit, list[float]] = defaultdict(list)
    for record in finished:
        value, base = value_of(record, objective), plain.get(size_of(record))
        if not is_plain_name(record.fusion) and value and base:
            logs[_unit(record, by=by)].append(math.log(value / base))
    ratios = {unit: math.exp(sum(own) / len(own)) for unit, own in logs.items()}
    plain_units = {Unit(it.fusion, None, None, None): 1.0 for it in finished if is_plain_name(it.fusion)}
    return {**plain_units, **ratios} if ratios else {}


def _unit(record: Record, *, by: Sequence[str]) -> Unit:
    return Unit(
        fusion=record.fusion,
        rule=rule_at_any_depth(record),
        depth=record.depth if "depth" in by else None,
        budget=record.budget if "budget" in by else None,
    )
