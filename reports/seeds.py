"""Several seeds of one architecture: which trials are a confirmation's, and how they become one point.

A search trains an architecture once. A confirmation trains it again with further seeds; its trials are numbered from
1,000,000 up, apart from those of the search, and stand in no Optuna study.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from depthweave.reports.pairing import seed_effects
from depthweave.reports.records import Record

FIRST_CONFIRMATION = 1_000_000
"""Number of a run's first trial that is a confirmation's and not the search's."""


def searched(records: Iterable[Record]) -> list[Record]:
    """The records of the search alone."""
    return [record for record in records if record.trial < FIRST_CONFIRMATION]


def confirming(records: Iterable[Record]) -> list[Record]:
    """The records of the run's confirmations alone."""
    return [record for record in records if record.trial >= FIRST_CONFIRMATION]


def averaged(records: Sequence[Record]) -> list[Record]:
    """One complete record an architecture, in the given order; those that are not complete stay as they are.

    An architecture with several seeds stands at its mean loss, and at the perplexity of that, the geometric mean of
    its seeds' perplexities. One that lacks some of the run's seeds stands where it would with all, the effects of its
    own seeds taken out (`pairing`). All else, costs included, is that of its first trial, of the search itself where
    that was complete. A search's stopped trial is dropped where a confirmation has trained the architecture to the end.
    """
    losses = losses_by_seed(records)
    if max((len(own) for own in losses.values()), default=0) < 2:
        return list(records)
    effects = seed_effects(list(losses.values()))
    first: dict[str, int] = {}
    for record in sorted(records, key=lambda item: item.trial):
        if record.state == "complete":
            first.setdefault(record.architecture_id, record.trial)
    kept = []
    for record in records:
        own = record.architecture_id
        if record.state == "complete" and first[own] == record.trial:
            kept.append(_moved(record, [loss - effects.get(seed, 0.0) for seed, loss in losses.get(own, {}).items()]))
        elif record.state not in ("complete", "pruned") or own not in first:
            kept.append(record)
    return kept


def losses_by_seed(records: Iterable[Record]) -> dict[str, dict[int, float]]:
    """Architecture id to seed to validation loss, nat/token, of complete records with a finite one."""
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        if record.state == "complete" and record.loss is not None and math.isfinite(record.loss):
            losses[record.architecture_id].setdefault(record.seed, record.loss)
    return dict(losses)


def _moved(record: Record, losses: Sequence[float]) -> Record:
    """The record at the mean of these losses."""
    if not losses:
        return record
    loss = statistics.fmean(losses)
    # Bits per byte are the loss in another unit: the factor is the validation text's, the same for every seed.
    bits = record.bits_per_byte
    if bits is not None and record.loss:
        bits *= loss / record.loss
    return dataclasses.replace(record, loss=loss, perplexity=math.exp(loss), bits_per_byte=bits)
