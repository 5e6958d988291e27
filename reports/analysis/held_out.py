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


class HeldOut(NamedTuple):
    """The mean of a quality on the test part over fresh seeds."""

    interval: Interval
    """Of the loss in nat/token where the quality is a perplexity, else of the quality itself."""
    quality: str
    """Name of the objective that it is on the validation part."""

    @property
    def mean(self) -> float:
        """The quality at the mean."""
        return self._shown(self.interval.mean)

    @property
    def low(self) -> float | None:
        """Lower end of its 95 % interval; `None` with one seed."""
        return None if self.interval.low is None else self._shown(self.interval.low)

    @property
    def high(self) -> float | None:
        """Upper end of it."""
        return None if self.interval.high is None else self._shown(self.interval.high)

    def _shown(self, loss: float) -> float:
        return perplexity_of(loss) if self.quality == QUALITY else loss


class HeldOutText(NamedTuple):
    """A quality on the test part, for a reader."""

    value: str
    """Empty where there is none."""
    interval: str
    """The 95 % interval over seeds: "3.89 to 3.95"; empty with fewer than two."""


def held_out_of(records: Sequence[Record]) -> dict[str, HeldOut]:
    """Returns architecture id to the mean of its quality on the test part over its fresh seeds, where there is one."""
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    qualities: dict[str, str] = {}
    for record in fresh_records(records):
        quality, loss = (QUALITY, record.test_loss) if record.test_error is None else ("error", record.test_error)
        if loss is not None and math.isfinite(loss):
            losses[record.architecture_id].setdefault(record.seed, loss)
            qualities[record.architecture_id] = quality
    return {own: HeldOut(mean_interval(list(by_seed.values())), qualities[own]) for own, by_seed in losses.items()}


def held_out_text(test: HeldOut | None) -> HeldOutText:
    """Returns the quality on the test part, with its interval."""
    if test is None:
        return HeldOutText("", "")
    low, high = (None if it is None else show(test.quality, it) for it in (test.low, test.high))
    return HeldOutText(show(test.quality, test.mean), "" if low is None else f"{low} to {high}")


def held_out_sentence(records: Sequence[Record], *, best: Record, other: Record) -> list[str]:
    """Returns a sentence on the test losses of the best architecture and of the one it is compared with, if any."""
    test_losses = held_out_of(records)
    if best.architecture_id not in test_losses:
        return []
    own = test_losses[best.architecture_id]
    sentence = f"On the test part, which the search did not read, it has {_with_interval(own)}"
    if other.architecture_id in test_losses and other.architecture_id != best.architecture_id:
        sentence += f", and the one it is compared with {_with_interval(test_losses[other.architecture_id])}"
    return [f"{sentence}, over {plural(own.interval.num, 'fresh seed')}."]


def _with_interval(test: HeldOut) -> str:
    value, interval = held_out_text(test)
    return f"{value} (95 % interval {interval})" if interval else value
