"""Which weights a run keeps: those of its front, of trials that may still join it, and of the plain baselines.

While a search runs, costs are measured beside other trials and losses are of one seed. So the weights of a trial are
deleted only where another trial is better by more than this uncertainty. Once the front is measured and confirmed, all
weights but the front's own are deleted.
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
from depthweave.spaces.plain_names import is_plain_name

_LOSS_FACTOR = 1.05
"""The perplexities of one architecture with two seeds differ by 1 to 2 %."""
_TIME_FACTOR = 1.1
"""Allowed between two measurements of one latency, one of them beside other trials."""


class WeightRetention:
    """The complete trials of a search whose weights are kept while it runs."""

    def __init__(self, objectives: Sequence[str]) -> None:
        self._objectives = tuple(objectives)
        self._kept: list[tuple[Record, tuple[float, ...]]] = []
        """Each with its values at the best end of their uncertainty."""

    def add(self, record: Record) -> list[Record]:
        """Adds a complete trial. Returns the trials, maybe itself, whose weights are no longer needed."""
        if is_plain_name(record.fusion):
            return []
        worst, best = self._values(record, worst=True), self._values(record, worst=False)
        if any(_beats(self._values(item, worst=True), best) for item, _ in self._kept):
            return [record]
        beaten = [item for item, values in self._kept if _beats(worst, values)]
        numbers = {item.trial for item in beaten}
        self._kept = [pair for pair in self._kept if pair[0].trial not in numbers]
        self._kept.append((record, best))
        return beaten

    def _values(self, record: Record, *, worst: bool) -> tuple[float, ...]:
        """Returns the objectives at the worst end of their uncertainty, or at the best."""
        values = []
        for name in self._objectives:
            value = value_of(record, name)
            if value is None:
                # Without a value the trial neither beats another one nor is beaten.
                value = math.inf if worst else -math.inf
            elif not OBJECTIVES[name].cost:
                value = value if worst else value / _LOSS_FACTOR
            elif OBJECTIVES[name].timed:
                value = value if worst else value / _TIME_FACTOR
            values.append(value)
        return tuple(values)


def keep_front_only(store: RunStore, *, checkpoints: Checkpoints) -> int:
    """Deletes all weights but those of the front's architectures and of plain ones. Returns the freed bytes.

    For a run whose front is measured. Trials in flight keep what they need.
    """
    records = store.records()
    wanted = retained_ids(records, objectives=store.info.objectives)
    unwanted = {item.trial for item in records if item.architecture_id not in wanted}
    numbers = [item for item in checkpoints.numbers() if item in unwanted and not checkpoints.has_state(item)]
    return sum(checkpoints.drop(item, keep_weights=False) for item in numbers)


def _beats(values: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(values, others, strict=True)) and values != others
