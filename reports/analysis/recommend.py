"""Which architecture to take under limits on the costs, and whether the choice is settled.

The choice is the architecture with the lowest mean quality (perplexity, or the error of another task) within the
limits, settled or not, and the sentence says which. (`--select best` prefers settled members of the front, and the
simplest of twins, which may be higher.) The choice is settled if its loss is distinguishable (`verdicts`) from that of
every other architecture with several fresh seeds within the limits. The test is two-sided, because the same seeds also
decide which of two equal architectures is ahead.

The page's script chooses by the same rules and writes the same sentences; a browser test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.selection import Condition
from depthweave.reports.analysis.verdict_text import interval_text, probability_text, why_not_settled
from depthweave.reports.analysis.verdicts import MIN_SEEDS, Verdict, distinguishable
from depthweave.reports.formatting import axis_of, full_name, plural, quality_word, show, title_of
from depthweave.reports.store.objectives import column_value, cost_names, reported_quality
from depthweave.reports.store.records import Record

_MAX_LIMITS = 120
"""Most stops of a slider."""
_STEPS = (1, 2, 5)
_MAX_NAMED = 3


class Limit(NamedTuple):
    """An upper limit of a cost, with its text."""

    value: float
    text: str


def limits_of(averaged: Sequence[Record], *, column: str) -> list[Limit]:
    """Returns the stops of a cost's slider, ascending: round numbers that some record meets."""
    finished = [record for record in averaged if record.state == "complete"]
    values = [value for record in finished if (value := value_of(record, column)) is not None]
    if not values:
        return []
    divisor = axis_of(column, values).divisor
    low, high = min(values) / divisor, max(values) / divisor
    step = _step(high - low, level=high)
    first, last = math.ceil(low / step - 1e-9), math.ceil(high / step - 1e-9)
    return [_limit(column, number * step * divisor) for number in range(first, last + 1)]


def recommended(view: RunView, *, limits: Mapping[str, Limit]) -> Record | None:
    """Returns the record with the lowest mean quality within the limits; `None` where no record meets them."""
    return min(_within(view.comparable, limits), key=_order_by(reported_quality(view.objectives)), default=None)


def recommendation(view: RunView, *, limits: Mapping[str, Limit]) -> str:
    """Returns the choice in words, and what is not settled about it."""
    chosen, verdicts = recommended(view, limits=limits), view.verdicts
    if chosen is None:
        return "No complete trial meets these limits." if limits else "No trial is complete yet."
    lead = lead_sentence(limits, objectives=view.objectives)
    lead += f"{recommended_sentence(chosen, objectives=view.objectives, verdicts=verdicts)}. "
    if uncertainty_sentence(chosen, verdicts=verdicts):
        return f"{lead}Not settled: {uncertainty_sentence(chosen, verdicts=verdicts)}."
    met, order = _within(view.averaged, limits), _order_by(reported_quality(view.objectives))
    rivals = [it for it in met if _has_seeds(it, verdicts) and it.architecture_id != chosen.architecture_id]
    close = close_rivals(view).get(chosen.architecture_id, frozenset())
    near = sorted((it for it in rivals if it.architecture_id in close), key=order)
    return lead + _settled_text([full_name(it) for it in near], total=len(rivals))


def lead_sentence(limits: Mapping[str, Limit], *, objectives: Sequence[str]) -> str:
    """Returns what was asked for: "Lowest perplexity with forward latency at most 1.10×: "."""
    parts = [f"{title_of(column)} at most {limit.text}" for column, limit in limits.items()]
    lead = f"Lowest {quality_word(reported_quality(objectives))}"
    return lead + (f" with {' and '.join(parts)}" if parts else " without limits") + ": "


def recommended_sentence(record: Record, *, objectives: Sequence[str], verdicts: Mapping[str, Verdict]) -> str:
    """Returns name, quality and costs of the record in one clause."""
    column = reported_quality(objectives)
    verdict = verdicts.get(record.architecture_id)
    interval = interval_text(verdict) if verdict else ""
    quality = f"{full_name(record)}, {quality_word(column)} {show(column, column_value(record, column))}"
    quality += f" (95 % interval {interval})" if interval else ""
    costs = [f"{title_of(name)} {show(name, column_value(record, name))}" for name in cost_names(objectives)]
    return ", ".join([quality, *costs])


def certainty_sentence(record: Record, *, verdicts: Mapping[str, Verdict]) -> str:
    """Returns a sentence on whether the record's place on the front is settled."""
    verdict = verdicts.get(record.architecture_id)
    if verdict is None:
        return "One seed, which chose it: not settled."
    if not verdict.settled:
        return f"Its place on the front is not settled: {why_not_settled(verdict)}."
    return f"Its place on the front is settled ({probability_text(verdict)}, {plural(verdict.loss.num, 'fresh seed')})."


def uncertainty_sentence(record: Record, *, verdicts: Mapping[str, Verdict]) -> str:
    """Returns why no claim on the record's loss can be settled: too few seeds, or one that diverged; else empty."""
    verdict = verdicts.get(record.architecture_id)
    if verdict is not None and verdict.num_diverged:
        return f"it diverged with {plural(verdict.num_diverged, 'seed')}"
    num = 0 if verdict is None else verdict.loss.num
    return f"it has {plural(num, 'fresh seed')} of the {MIN_SEEDS} needed" if num < MIN_SEEDS else ""


def close_rivals(view: RunView) -> dict[str, frozenset[str]]:
    """Maps each member of the front with several fresh seeds to the rivals of indistinguishable loss."""
    if not view.verdicts:
        return {}
    ids = [it.architecture_id for it in view.candidates if _has_seeds(it, view.verdicts)]
    members = {it.architecture_id for it in view.front}
    different = distinguishable(view.records, ids=ids)
    return {
        own: frozenset(ids[other] for other in np.flatnonzero(~different[row]) if other != row)
        for row, own in enumerate(ids)
        if own in members
    }


def _within(records: Sequence[Record], limits: Mapping[str, Limit]) -> list[Record]:
    """Returns the complete records that meet all limits."""
    conditions = [Condition(column, "<=", limit.value) for column, limit in limits.items()]
    return [it for it in records if it.state == "complete" and all(condition.holds(it) for condition in conditions)]


def _settled_text(near: Sequence[str], *, total: int) -> str:
    """Returns whether the choice is settled; `near` names the indistinguishable rivals, the best first."""
    if not total:
        return "Nothing else with several fresh seeds is within these limits."
    among = f"the {plural(total, 'other')} with several fresh seeds within these limits"
    if not near:
        return f"Settled: of {among}, none has a loss as low."
    named = "; ".join(near[:_MAX_NAMED])
    if len(near) > _MAX_NAMED:
        named += f" and {len(near) - _MAX_NAMED} more"
    are = f"{len(near)} {'is' if len(near) == 1 else 'are'}"
    return f"Not settled: of {among}, {are} not distinguishable from it in loss: {named}."


def _has_seeds(record: Record, verdicts: Mapping[str, Verdict]) -> bool:
    verdict = verdicts.get(record.architecture_id)
    return verdict is not None and verdict.loss.num > 1


def _order_by(quality: str) -> Callable[[Record], tuple[float, int]]:
    """Returns a key that sorts by the quality, an absent one last, then by trial."""

    def order(record: Record) -> tuple[float, int]:
        value = value_of(record, quality)
        return math.inf if value is None else value, record.trial

    return order


def _step(spread: float, *, level: float) -> float:
    """Returns the smallest of 1, 2, 5 times a power of ten that gives at most 120 stops with different texts."""
    wanted = (spread or abs(level) * 0.1 or 1.0) / _MAX_LIMITS
    wanted = max(wanted, 10.0 ** (max(0, math.floor(math.log10(abs(level) or 1.0))) - 2) * (1 - 1e-9))
    power = math.floor(math.log10(wanted))
    steps = [factor * 10.0**exponent for exponent in (power, power + 1) for factor in _STEPS]
    return next(step for step in steps if step >= wanted)


def _limit(column: str, value: float) -> Limit:
    rounded = float(f"{value:.10g}")
    return Limit(rounded, show(column, rounded))
