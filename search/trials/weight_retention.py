"""Which weights a run keeps: those of its front and of what may still come to stand there, and of the plain baselines.

While a search runs, figures are still those that trials saw beside each other, and losses those of one seed. So a
trial's weights go only where another one is better by more than that uncertainty; once the front is measured and
confirmed, all go but the front's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.retention import retained_ids
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.trials.checkpoints import Checkpoints

_LOSS_FACTOR = 1.05
"""Between the perplexities of one architecture with two seeds lie 1 to 2 %."""
_TIME_FACTOR = 1.1
"""Between two measurements of one latency, one of them beside other trials."""


class WeightRetention:
    """The complete trials of a search whose weights are kept while it runs."""

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)
        self._kept: list[tuple[Record, tuple[float, ...]]] = []

    def add(self, record: Record) -> list[Record]:
        """A complete trial is known; answers those, itself perhaps among them, whose weights nobody needs any more."""
        if record.fusion == "none":
            return []
        sure, hopeful = self._values(record, sure=True), self._values(record, sure=False)
        if any(_beats(other, hopeful) for _, other in self._pairs(sure=True)):
            return [record]
        gone = [item for item, values in self._pairs(sure=False) if _beats(sure, values)]
        numbers = {item.trial for item in gone}
        self._kept = [pair for pair in self._kept if pair[0].trial not in numbers]
        self._kept.append((record, hopeful))
        return gone

    def _pairs(self, *, sure: bool) -> list[tuple[Record, tuple[float, ...]]]:
        return [(item, self._values(item, sure=True) if sure else hopeful) for item, hopeful in self._kept]

    def _values(self, record: Record, *, sure: bool) -> tuple[float, ...]:
        """The objectives, at the end of their uncertainty that speaks against the trial (`sure`) or for it."""
        values = []
        for name in self._objectives:
            value = value_of(record, name)
            if value is None:
                # Nobody can say that it is beaten, nor that it beats.
                value = math.inf if sure else -math.inf
            elif not OBJECTIVES[name].cost:
                value = value if sure else value / _LOSS_FACTOR
            elif OBJECTIVES[name].timed:
                value = value if sure else value / _TIME_FACTOR
            values.append(value)
        return tuple(values)


def keep_front_only(store: RunStore, *, checkpoints: Checkpoints) -> int:
    """Weights stay of the front's architectures and of plain ones; answers the bytes that were freed.

    For a run whose front is measured. Trials in flight keep what they need.
    """
    records = store.records()
    wanted = retained_ids(records, objectives=store.info.objectives)
    unwanted = {item.trial for item in records if item.architecture_id not in wanted}
    gone = [item for item in checkpoints.numbers() if item in unwanted and not checkpoints.has_state(item)]
    return sum(checkpoints.drop(item, keep_weights=False) for item in gone)


def _beats(values: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(values, others, strict=True)) and values != others
