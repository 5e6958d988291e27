"""Whether two runs rank the connectivity patterns alike: a rank correlation with an interval over patterns.

A pattern is a fusion with its wiring rule. Its effect is the ratio of its value to that of the plain
architecture of the same depth and budget in the same run. Orders of runs with different corpora, sizes and machines can
be compared, although their values cannot. The plain architecture is included, with a ratio of one.

The coefficient is Kendall's tau-b, and its interval is the percentile bootstrap over the patterns. It shows how much
the result depends on which patterns were tried. It does not include noise between seeds, which moves tau towards zero.

Source: Kendall, "The treatment of ties in ranking problems", 1945; Efron, "Bootstrap methods", 1979.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.seeds import size_of
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import rule_name, rule_of, shows_wiring
from depthweave.spaces.plain_names import is_plain_name
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_rules import WiringRule, edges_rule

MIN_PATTERNS = 6
"""Fewer have no interval: two random orders of four patterns are the same once in 24 times."""
_NUM_RESAMPLES = 2_000
_PERCENT = (2.5, 97.5)

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


PLAIN = Unit("none", None, None, None)


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
    def verdict(self) -> Literal["agree", "oppose", "not settled"]:
        """The conclusion that the interval supports."""
        if self.low is not None and self.low > 0:
            return "agree"
        if self.high is not None and self.high < 0:
            return "oppose"
        return "not settled"


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
    return {PLAIN: 1.0, **ratios} if ratios else {}


def kendall_tau(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Returns Kendall's tau-b of two columns `[units]`; `None` if all values of one are equal."""
    (tau,) = _taus(first, second, counts_BU=np.ones((1, len(first))))
    return None if math.isnan(tau) else float(tau)


def tau_interval(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float] | None:
    """Returns the 95 % bootstrap interval of tau over units; `None` with fewer than `MIN_PATTERNS`."""
    num = len(first)
    if num < MIN_PATTERNS:
        return None
    counts_BU = np.random.default_rng(0).multinomial(num, np.full(num, 1 / num), size=_NUM_RESAMPLES)
    taus_B = _taus(first, second, counts_BU=counts_BU.astype(np.float64))
    taus_B = taus_B[~np.isnan(taus_B)]
    if not len(taus_B):
        return None
    low, high = np.percentile(taus_B, _PERCENT)
    return float(low), float(high)


def _taus(
    first: NDArray[np.float64], second: NDArray[np.float64], *, counts_BU: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns tau-b of each resample `[B]`, which has `counts_BU` of each unit. NaN if all values are equal."""
    first_UU = np.sign(first[:, None] - first[None, :])
    second_UU = np.sign(second[:, None] - second[None, :])

    def total(pairs_UU: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(((counts_BU @ pairs_UU) * counts_BU).sum(axis=1), dtype=np.float64)

    scale_B = np.sqrt(total(first_UU**2) * total(second_UU**2))
    agree_B = total(first_UU * second_UU)
    taus_B = np.full(len(counts_BU), np.nan)
    np.divide(agree_B, scale_B, out=taus_B, where=scale_B > 0)
    return taus_B


def _unit(record: Record, *, by: Sequence[str]) -> Unit:
    return Unit(
        fusion=record.fusion,
        rule=_rule(record),
        depth=record.depth if "depth" in by else None,
        budget=record.budget if "budget" in by else None,
    )


def _rule(record: Record) -> WiringRule | None:
    """Returns the rule in a form that is the same at any depth; the list of connections where no rule is known."""
    if not shows_wiring(record):
        return None
    rule = rule_of(record)
    if rule is None:
        wiring = Wiring(record.depth, tuple(json.loads(record.wiring))).without_lone_sites()
        return edges_rule(wiring) if wiring.sites else None
    return dataclasses.replace(rule, period="depth") if rule.period == record.depth else rule
