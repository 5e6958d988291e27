"""Runs to read from: an empty one, and a finished one of 32 trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import fs

from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.buckets import in_memory
from tests.reports.synthetic import make_info, make_trial, synthetic_trials


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """An empty run."""
    return RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="name: quick\n")


@pytest.fixture(scope="session")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A finished run; not to be written to but for its report."""
    store = RunStore.create(
        tmp_path_factory.mktemp("runs") / "quick", info=make_info(), spec_yaml="name: quick\nseed: 0\n"
    )
    for trial in synthetic_trials():
        store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)
    write_front(store, store.records())
    return store


@pytest.fixture
def append(store: RunStore) -> Callable[[Record], None]:
    """Keeps a record in the empty run, with its curves."""

    def keep(record: Record) -> None:
        trial = make_trial(record)
        store.append(record, evaluations=trial.evaluations, weights=trial.weights)

    return keep


@pytest.fixture
def memory() -> fs.FileSystem:
    """A filesystem that is not the local disk, empty."""
    return in_memory()
