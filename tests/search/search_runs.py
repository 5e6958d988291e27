"""Whole searches in tests, run as the command line runs them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import SearchResult, run_search
from depthweave.search.preparation import PreparedSearch, create_run, prepare
from depthweave.search.spec.loading import make_spec
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.trainers import TokenSet


class UnreadableTestPart:
    """A test part that fails the test as soon as anything reads it or sends it to a worker."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test part is read: {name}")

    def __len__(self) -> int:
        raise AssertionError("the test part is read: its length")

    def __getitem__(self, key: object) -> Any:
        raise AssertionError(f"the test part is read: {key}")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise AssertionError("the test part is sent to a worker")


def with_unreadable_test_part(prepared: PreparedSearch) -> PreparedSearch:
    """Returns the search with a test part that fails the test when it is read."""
    test: Any = UnreadableTestPart()
    data = prepared.data
    assert isinstance(data, TokenSet)
    return dataclasses.replace(prepared, data=dataclasses.replace(data, test=test))


class RecordingProgress:
    """A progress that keeps its events."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.paused: list[int] = []
        self.finished: list[Record] = []
        self.notes: list[str] = []
        self.num_evaluations = 0

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        pass

    def on_start(self, live: LiveTrial) -> None:
        self.started.append(live.number)

    def on_pause(self, live: LiveTrial) -> None:
        self.paused.append(live.number)

    def on_evaluation(self, live: LiveTrial) -> None:
        self.num_evaluations += 1

    def on_finish(self, record: Record) -> None:
        self.finished.append(record)

    def on_tick(self) -> None:
        pass

    def on_phase(self, text: str) -> None:
        pass

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def prepared_search(values: dict[str, Any], *overrides: str) -> PreparedSearch:
    """Prepares the search of a spec as `depthweave search` does."""
    return prepare(make_spec(values, overrides=overrides))


def search(prepared: PreparedSearch, *, out: Path, address: str | None) -> SearchResult:
    """Runs a whole search into a new folder."""
    return run_search(prepared, create_run(prepared, out=out), address=address, progress=RecordingProgress())


def resume(prepared: PreparedSearch, *, out: Path, address: str | None) -> SearchResult:
    """Resumes the search of a folder."""
    return run_search(prepared, RunStore.open(out), address=address, progress=RecordingProgress())
