"""Losses on the test part, over fresh seeds and with their interval. Only a confirmation evaluates that part.

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
from depthweave.reports.store.objectives import QUALITY
from depthweave.reports.store.records import Record
from depthweave.spaces.perplexity import perplexity_of


class HeldOutText(NamedTuple):
    """A test perplexity for a reader."""

    value: str
    """Empty where there is none."""
    interval: str
    """The 95 % interval over seeds: "3.89 to 3.95"; empty with fewer than two."""


def held_out_of(records: Sequence[Record]) -> dict[str, Interval]:
    """Returns architecture id to the mean test loss over its fresh seeds, nat/token, where there is one."""
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    for record in fresh_records(records):
        if record.test_loss is not None and math.isfinite(record.test_loss):
            losses[record.architecture_id].setdefault(record.seed, record.test_loss)
    return {own: mean_interval(list(by_seed.values())) for own, by_seed in losses.items()}


def held_out_text(test: Interval | None) -> HeldOutText:
    """Returns the perplexity of the mean test loss, with its interval."""
    if test is None:
        return HeldOutText("", "")
    low, high = (None if it is None else show(QUALITY, perplexity_of(it)) for it in (test.low, test.high))
    return HeldOutText(show(QUALITY, perplexity_of(test.mean)), "" if low is None else f"{low} to {high}")


def held_out_sentence(records: Sequence[Record], *, best: Record, other: Record) -> list[str]:
    """Returns a sentence on the test losses of the best architecture and of the one it is compared with, if any."""
    test_losses = held_out_of(records)
    if best.architecture_id not in test_losses:
        return []
    own = test_losses[best.architecture_id]
    sentence = f"On the test part, which the search did not read, it has {_with_interval(own)}"
    if other.architecture_id in test_losses and other.architecture_id != best.architecture_id:
        sentence += f", and the one it is compared with {_with_interval(test_losses[other.architecture_id])}"
    return [f"{sentence}, over {plural(own.num, 'fresh seed')}."]


def _with_interval(test: Interval) -> str:
    value, interval = held_out_text(test)
    return f"{value} (95 % interval {interval})" if interval else value
