"""Reading a folder of many small files: what each file costs beside its bytes."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depthweave.reports.store import parquet_folder
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_record

_FILES = 3


@pytest.fixture
def store_of_files(store: RunStore, append: Callable[[Record], None]) -> RunStore:
    """A store with a file for each of three records."""
    for number in range(_FILES):
        append(make_record(number))
    return store


def test_schema_of_a_file_is_converted_twice_however_many_columns_it_has(
    store_of_files: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow converts it whenever it is asked for it: once a column made every reading three times as long."""
    converted = []

    class Counted(pq.ParquetFile):
        @property
        def schema_arrow(self) -> pa.Schema:
            converted.append(self)
            return super().schema_arrow

    monkeypatch.setattr(pq, "ParquetFile", Counted)
    assert len(store_of_files.records()) == _FILES
    assert _FILES <= len(converted) <= 2 * _FILES


def test_files_on_a_disk_are_read_without_threads(store_of_files: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads would wait for each other: they took twice as long."""
    monkeypatch.setattr(parquet_folder, "ThreadPoolExecutor", None)
    assert len(store_of_files.records()) == _FILES
