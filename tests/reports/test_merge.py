"""Merging a run's parts: one a table at the end, and nothing lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from depthweave.reports.records import Record
from depthweave.reports.store import RunStore
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


def test_merge_leaves_what_it_cannot_read(store: RunStore, append: Append) -> None:
    append(make_record(0))
    store.merge()
    broken = Path(store.where) / "records" / "trial-00007-r000.parquet"
    broken.write_bytes(b"PAR1")
    append(make_record(1))
    store.merge()
    assert broken.read_bytes() == b"PAR1"
    assert [row.trial for row in store.records()] == [0, 1]
