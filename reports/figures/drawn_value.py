"""The value of a record on an axis of a figure."""

from __future__ import annotations

import math

from depthweave.reports.analysis.front import value_of
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record

_MAX_LOSS = 50.0
"""A larger loss, in nats, has no perplexity that an axis can show."""


def drawn_value(record: Record, name: str) -> float | None:
    """Returns a record's value on an axis. A stopped record has the perplexity of its last evaluation."""
    loss = value_of(record, "last_loss")
    exponential = name in OBJECTIVES and OBJECTIVES[name].of_loss == "exponential"
    if exponential and record.state == "pruned" and loss is not None and loss < _MAX_LOSS:
        return math.exp(loss)
    return value_of(record, name)
