"""What a run knows of sparse graphs: those of its records, and the sizes of trained connections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from depthweave.reports.export import architecture_of
from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.surrogate.sparse_pool import WeightSource
from depthweave.spaces.skip_connections import Connection
from depthweave.spaces.space import SearchSpace


def include_recorded(space: SearchSpace, store: RunStore) -> None:
    """Makes the sparse graphs of a run's records known to the space, so that they can be confirmed, for example."""
    if space.axes.sparse is None:
        return
    parameters = Parameters(space)
    for record in store.records():
        if record.architecture_id not in parameters.known:
            # A record of another version stays unknown, as in a space without sparse graphs.
            with suppress(ValueError):
                parameters.adopted(architecture_of(record))


def weight_source(store: RunStore) -> WeightSource:
    """Returns a function that gives the sizes of a complete trial's connections, by the trial's number."""
    return lambda trial: connection_sizes(store, trial=trial)


def connection_sizes(store: RunStore, *, trial: int) -> Mapping[Connection, float]:
    """Returns the size of each skip connection of a trial: the weight's magnitude times the norm of the state it reads.

    Those of its last evaluation; empty for a trial without recorded weights or norms.
    """
    record = next(iter(store.records([trial])), None)
    if record is None or record.state_norms is None:
        return {}
    norms, rows = json.loads(record.state_norms), store.weights([trial]).to_pylist()
    last = max((row["tokens"] for row in rows), default=0)
    return {
        (row["site"], row["source"]): abs(row["value"]) * norms[row["source"]]
        for row in rows
        if row["tokens"] == last and row["source"] < row["site"] and row["source"] < len(norms)
    }
