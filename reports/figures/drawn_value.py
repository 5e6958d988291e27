"""The value of a record on an axis of a figure."""

from __future__ import annotations

import math

from depthweave.reports.analysis.front import value_of
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record

_MAX_LOSS = 50.0
"""A larger loss, in nats, has no perplexity that an axis can show."""


def drawn_value(record: Record, name: str, *, quality: str) -> float | None:
    """Returns a record's value on an axis. A stopped record has the run's quality at its last evaluation.

    `quality` is the run's: the loss of a head is an error, which has no perplexity.
    """
    loss = value_of(record, "last_loss")
    if record.state == "pruned" and name == quality and loss is not None:
        of_loss = OBJECTIVES[name].of_loss
        if of_loss == "itself":
            return loss
        if of_loss == "exponential" and loss < _MAX_LOSS:
            return math.exp(loss)
    return value_of(record, name)
