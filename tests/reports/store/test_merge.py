"""Merging a run's parts: one a table at the end, and nothing lost on the way."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import Storage
from tests.reports.synthetic import make_record

Append = Callable[[Record], None]


def test_merge_leaves_one_part_with_every_trial_once(store: RunStore, append: Append) -> None:
    for number in range(3):
        append(make_record(number))
    store.merge()
    append(make_record(3))
    store.revise(make_record(1, trial_latency=1.4))
    store.merge()
    store.merge()
    (part,) = (Path(store.where) / "records").iterdir()
    table = pq.read_table(part)
    assert table["trial"].to_pylist() == [0, 1, 2, 3]
    assert table["trial_latency"].to_pylist()[1] == 1.4
    assert store.records() == RunStore.open(store.where).records()


def test_merge_sets_aside_what_is_damaged_and_leaves_strangers(store: RunStore, append: Append) -> None:
    append(make_record(0))
    store.merge()
    folder = Path(store.where) / "records"
    (folder / "trial-00007-r000.parquet").write_bytes(b"PAR1")
    (folder / "notes.txt").write_text("mine")
    append(make_record(1))
    store.merge()
    store.merge()
    assert (folder / "trial-00007-r000.parquet.corrupt").read_bytes() == b"PAR1"
    assert (folder / "notes.txt").read_text() == "mine"
    again = RunStore.open(store.where)
    assert [row.trial for row in again.records()] == [0, 1]
    assert again.problems == ["records/trial-00007-r000.parquet.corrupt: was damaged and set aside; left out"]
    (part,) = folder.glob("*.parquet")
    assert pq.read_table(part).num_rows == 2


def test_merge_takes_what_cannot_be_read_just_now_for_no_damage(
    store: RunStore, append: Append, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(make_record(0))
    append(make_record(1))
    path, read = Path(store.where) / "records" / "trial-00001-r000.parquet", Storage.read

    def hesitates(storage: Storage, name: str) -> bytes:
        # As on a network that is slow: it is there, and does not open.
        if name.endswith(path.name):
            raise OSError(errno.EIO, "input/output error")
        return read(storage, name)

    monkeypatch.setattr(Storage, "read", hesitates)
    store.merge()
    assert path.exists()
