"""Losses on the test part, which a confirmation evaluates and no search reads: over fresh seeds, with their interval.

Records of earlier versions, and of a corpus without a test part, have none.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from depthweave.reports.analysis.intervals import Interval, mean_interval
from depthweave.reports.analysis.seeds import fresh_records
from depthweave.reports.formatting import plural, show
from depthweave.reports.store.records import Record


class HeldOutText(NamedTuple):
    """A test perplexity for a reader."""

    value: str
    """Empty where there is none."""
    interval: str
    """The 95 % interval over seeds: "3.89 to 3.95"; empty with fewer than two."""


def held_out_of(records: Sequence[Record]) -> dict[str, Interval]:
    """Architecture id to the mean test loss over its fresh seeds, nat/token, of those that have one."""
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    for record in fresh_records(records):
        if record.test_loss is not None and math.isfinite(record.test_loss):
            losses[record.architecture_id].setdefault(record.seed, record.test_loss)
    return {own: mean_interval(list(by_seed.values())) for own, by_seed in losses.items()}


def held_out_text(test: Interval | None) -> HeldOutText:
    """The perplexity of the mean test loss."""
    if test is None:
        return HeldOutText("", "")
    low, high = (None if it is None else show("perplexity", perplexity_of(it)) for it in (test.low, test.high))
    return HeldOutText(show("perplexity", perplexity_of(test.mean)), "" if low is None else f"{low} to {high}")


def held_out_sentence(records: Sequence[Record], *, best: Record, other: Record) -> list[str]:
    """What the test part says of the best architecture and the one it is compared with; nothing where it says none."""
    found = held_out_of(records)
    if best.architecture_id not in found:
        return []
    own = found[best.architecture_id]
    told = f"On the test part, which the search did not read, it has {_told(own)}"
    if other.architecture_id in found and other.architecture_id != best.architecture_id:
        told += f", and the one it is compared with {_told(found[other.architecture_id])}"
    return [f"{told}, over {plural(own.num, 'fresh seed')}."]


def perplexity_of(loss: float) -> float:
    """exp of a loss in nats; infinite where that is too large a number."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _told(test: Interval) -> str:
    value, interval = held_out_text(test)
    return f"{value} (95 % interval {interval})" if interval else value
