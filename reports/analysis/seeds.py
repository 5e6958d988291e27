"""Several seeds of one architecture: which trials are a confirmation's, and how they become one point.

A search trains an architecture once. A confirmation trains it again with further seeds; its trials are numbered from
1,000,000 up, apart from those of the search, and stand in no Optuna study.

The search chose what to confirm by the losses of its own seed, so these flatter what was chosen. An architecture that
was confirmed therefore stands at the mean of its fresh seeds; the search's own loss stays in its record and is shown.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from depthweave.reports.analysis.seed_blocks import fit_blocks
from depthweave.reports.store.records import Record

FIRST_CONFIRMATION = 1_000_000
"""Number of a run's first trial that is a confirmation's and not the search's."""


class Size(NamedTuple):
    """Within one a seed has an effect that its architectures share."""

    depth: int
    budget: int | None


def size_of(record: Record) -> Size:
    """The depth and budget of an architecture."""
    return Size(record.depth, record.budget)


def searched(records: Iterable[Record]) -> list[Record]:
    """The records of the search alone."""
    return [record for record in records if record.trial < FIRST_CONFIRMATION]


def confirming(records: Iterable[Record]) -> list[Record]:
    """The records of the run's confirmations alone."""
    return [record for record in records if record.trial >= FIRST_CONFIRMATION]


def averaged(records: Sequence[Record]) -> list[Record]:
    """One complete record an architecture, in the given order; those that are not complete stay as they are.

    An architecture with fresh seeds stands at their mean loss, and at the perplexity of that, the geometric mean of
    its seeds' perplexities. One that lacks some of the seeds, or has the search's alone, stands where it would with the
    fresh seeds of its depth and budget, the effects of its own seeds taken out (`pairing`). All else, costs included,
    is that of its first trial, of the search itself where that was complete. A search's stopped trial is dropped where
    a confirmation has trained the architecture to the end.
    """
    losses = losses_by_seed(records)
    if max((len(own) for own in losses.values()), default=0) < 2:
        return list(records)
    means = _means(records, losses=losses, fresh=losses_by_seed(fresh_records(records)))
    first: dict[str, int] = {}
    for record in sorted(records, key=lambda item: item.trial):
        if record.state == "complete":
            first.setdefault(record.architecture_id, record.trial)
    kept = []
    for record in records:
        own = record.architecture_id
        if record.state == "complete" and first[own] == record.trial:
            kept.append(_moved(record, means.get(own)))
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


def fresh_records(records: Sequence[Record]) -> list[Record]:
    """A confirmation's complete records with a finite loss, less those with a seed that the search trained with."""
    known = {record.seed for record in searched(records)}
    return [
        record
        for record in confirming(records)
        if record.seed not in known
        and record.state == "complete"
        and record.loss is not None
        and math.isfinite(record.loss)
    ]


def _means(
    records: Sequence[Record], *, losses: Mapping[str, Mapping[int, float]], fresh: Mapping[str, Mapping[int, float]]
) -> dict[str, float]:
    """Architecture id to its loss as if it had all fresh seeds of its depth and budget."""
    members: dict[Size, list[str]] = defaultdict(list)
    for own, size in {item.architecture_id: size_of(item) for item in records if item.state == "complete"}.items():
        if own in losses:
            members[size].append(own)
    means = {}
    for ids in members.values():
        effects = fit_blocks([losses[own] for own in ids]).effects
        wanted = {seed for own in ids for seed in fresh.get(own, {})} & effects.keys()
        centre = statistics.fmean(effects[seed] for seed in wanted) if wanted else 0.0
        for own in ids:
            counted = fresh.get(own) or losses[own]
            means[own] = statistics.fmean(
                loss - (effects[seed] - centre if wanted and seed in effects else 0.0) for seed, loss in counted.items()
            )
    return means


def _moved(record: Record, loss: float | None) -> Record:
    """The record at this loss."""
    if loss is None:
        return record
    # Bits per byte are the loss in another unit: the factor is the validation text's, the same for every seed.
    bits = record.bits_per_byte
    if bits is not None and record.loss:
        bits *= loss / record.loss
    perplexity = None if record.perplexity is None else math.exp(loss)
    return dataclasses.replace(record, loss=loss, perplexity=perplexity, bits_per_byte=bits)
