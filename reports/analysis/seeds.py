"""Several seeds of one architecture: the trials of a confirmation, and how they become one point.

A search trains an architecture once. A confirmation trains it again with further seeds. Its trials are numbered from
1,000,000 and are in no Optuna study.

The search chose what to confirm by the losses of its own seed, so these losses are biased downwards. A confirmed
architecture is therefore reported at the mean of its fresh seeds. Its record keeps the search's own loss.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from depthweave.reports.analysis.seed_blocks import fit_blocks
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record

FIRST_CONFIRMATION = 1_000_000
"""Number of the first trial of a confirmation."""


class Size(NamedTuple):
    """Depth and budget. All architectures of one size share the effect of a seed.

    So do all heads on one host, whose draws are the same: they have no budget here.
    """

    depth: int
    budget: int | None


def size_of(record: Record) -> Size:
    """Returns the depth and budget of an architecture."""
    return Size(record.depth, record.budget if record.head is None else None)


def searched(records: Iterable[Record]) -> list[Record]:
    """Returns the records of the search, without those of confirmations."""
    return [record for record in records if record.trial < FIRST_CONFIRMATION]


def confirming(records: Iterable[Record]) -> list[Record]:
    """Returns the records of the run's confirmations."""
    return [record for record in records if record.trial >= FIRST_CONFIRMATION]


def averaged(records: Sequence[Record]) -> list[Record]:
    """Returns one complete record for each architecture, in the given order; other records are returned unchanged.

    An architecture with fresh seeds gets their mean loss, and the perplexity of that, which is the geometric mean of
    its seeds' perplexities. One that lacks some of the seeds, or has the search's alone, gets the loss that it would
    have with the fresh seeds of its depth and budget: the effects of its own seeds are removed (`seed_blocks`). All
    other columns, costs included, are those of its first complete trial. A stopped trial of the search is dropped where
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
            kept.append(_at_loss(record, means.get(own)))
        elif record.state not in ("complete", "pruned") or own not in first:
            kept.append(record)
    return kept


def estimated_ids(records: Sequence[Record]) -> set[str]:
    """Returns the architectures without a fresh seed whose loss in `averaged` is an estimate and no training's."""
    fresh = {item.architecture_id for item in fresh_records(records)}
    trained = {item.trial: item.loss for item in records}
    return {
        item.architecture_id
        for item in averaged(records)
        if item.state == "complete" and item.architecture_id not in fresh and item.loss != trained[item.trial]
    }


def losses_by_seed(records: Iterable[Record]) -> dict[str, dict[int, float]]:
    """Returns architecture id to seed to validation loss, nat/token, for complete records with a finite loss."""
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        if record.state == "complete" and record.loss is not None and math.isfinite(record.loss):
            losses[record.architecture_id].setdefault(record.seed, record.loss)
    return dict(losses)


def fresh_records(records: Sequence[Record]) -> list[Record]:
    """Returns the complete records of confirmations with a finite loss and a seed that the search did not use."""
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
    """Returns architecture id to the loss that it would have with all fresh seeds of its depth and budget."""
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


def _at_loss(record: Record, loss: float | None) -> Record:
    """Returns the record with this loss, and with the qualities that follow from it."""
    if loss is None:
        return record
    columns: dict[str, Any] = {"loss": loss}
    for item in OBJECTIVES.values():
        value = None if item.of_loss is None or item.source is not None else getattr(record, item.name)
        if value is None:
            continue
        if item.of_loss != "proportional":
            columns[item.name] = item.at_loss(loss, value=value, mean=loss)
        elif record.loss:
            # The loss in another unit. The factor depends on the validation text and not on the seed.
            columns[item.name] = item.at_loss(loss, value=value, mean=record.loss)
    if record.f1 is not None:
        columns["f1"] = 1.0 - loss
    return dataclasses.replace(record, **columns)
