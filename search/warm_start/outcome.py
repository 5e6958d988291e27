"""How well the sources predicted: the order that each expects of this run's own trials, against their final losses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from depthweave.reports.analysis.rank_agreement import kendall_tau
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.analysis.source_runs import MIN_RECORDS, trained_here
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.warm_start import SourceOutcome, has_warm_start, read_warm_start, write_warm_start
from depthweave.search.surrogate.candidates import FloatArray
from depthweave.search.surrogate.transfer import source_predictions
from depthweave.search.warm_start.sources import recorded_architecture
from depthweave.search.warm_start.start import source_losses
from depthweave.spaces.architecture import Architecture


def keep_outcome(store: RunStore) -> None:
    """Writes how well each source predicted into `warm_start.json`; nothing for a run without sources.

    Raises `ValueError`, one line, where the file is damaged.
    """
    if not has_warm_start(store):
        return
    warm_start = read_warm_start(store)
    known = _own_losses(store.records())
    predicted = iter(source_predictions(source_losses(store, warm_start), [item for item, _ in known]))
    losses = np.array([loss for _, loss in known], dtype=np.float64)
    sources = tuple(
        dataclasses.replace(item, outcome=_outcome(next(predicted), losses) if item.losses else None)
        for item in warm_start.sources
    )
    write_warm_start(store, dataclasses.replace(warm_start, sources=sources))


def _own_losses(records: Sequence[Record]) -> list[tuple[Architecture, float]]:
    """Returns architecture and final loss of the complete trials that this run trained."""
    found = []
    for record in trained_here(searched(records)):
        if record.state == "complete" and record.loss is not None and math.isfinite(record.loss):
            architecture = recorded_architecture(record)
            if architecture is not None:
                found.append((architecture, record.loss))
    return found


def _outcome(predicted_N: FloatArray, losses_N: FloatArray) -> SourceOutcome:
    num = len(losses_N)
    if num < MIN_RECORDS:
        return SourceOutcome(num_records=num, tau=None)
    tau = kendall_tau(predicted_N, losses_N) if np.isfinite(predicted_N).all() else None
    return SourceOutcome(num_records=num, tau=tau)
