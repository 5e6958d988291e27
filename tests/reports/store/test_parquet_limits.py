"""Parts that mean far more than their size: one line instead of the machine's memory."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.store import parquet_limits as part_limits
from depthweave.reports.store.arrow_rows import schema_of, to_table
from depthweave.reports.store.parquet_file import parquet_bytes
from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import RUN_ID, make_record, make_trial


def _repeated(table: pa.Table, rows: int) -> pa.Table:
    """One row many times, packed into some kilobytes."""
    columns = [
        pa.DictionaryArray.from_arrays(pa.nulls(rows, pa.int32()).fill_null(0), column.combine_chunks())
        if pa.types.is_string(column.type) and not column.null_count
        else pa.repeat(column[0], rows)
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names).replace_schema_metadata(table.schema.metadata)


def _only_problem(store: RunStore, data: bytes, *, name: str = "records/batch-00001.parquet") -> str:
    path = Path(store.where) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    store.append(make_record(1), evaluations=[], weights=[])
    before = pa.total_allocated_bytes()
    assert store.records() == [make_record(1)]
    store.weights()
    assert pa.total_allocated_bytes() - before < 2**24
    (problem,) = store.problems
    assert problem.startswith(f"{name}: ")
    assert problem.endswith("; left out")
    return problem


def test_rows_that_repeat_a_million_times_are_left_out_with_a_line(store: RunStore) -> None:
    table = _repeated(to_table([make_record(0)], row_class=Record), 200_000)
    data = parquet_bytes(table)
    assert len(data) < 2**18
    assert "200,000 rows in" in _only_problem(store, data)


def test_row_groups_without_number_are_left_out_with_a_line(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_limits, "MAX_ROW_GROUPS", 3)
    sink = io.BytesIO()
    pq.write_table(_repeated(to_table([make_record(0)], row_class=Record), 40), sink, row_group_size=10)
    assert "4 row groups: at most 3 are read" in _only_problem(store, sink.getvalue())


def test_long_text_that_stands_in_every_row_is_left_out_with_a_line(store: RunStore) -> None:
    table = to_table([make_record(0, reason="x" * 2**16)], row_class=Record)
    problem = _only_problem(store, parquet_bytes(_repeated(table, 50_000)))
    assert "column 'reason': 3,276,800,000 bytes when unpacked" in problem


def test_lists_in_the_place_of_numbers_are_left_out_with_a_line(store: RunStore) -> None:
    table = to_table(make_trial(make_record(0)).weights[:1], row_class=WeightRow)
    lists = pa.ListArray.from_arrays(pa.array([0, 10_000_000]), pa.nulls(10_000_000, pa.float64()).fill_null(0.0))
    table = table.set_column(table.column_names.index("value"), "value", lists)
    problem = _only_problem(store, parquet_bytes(table), name="weights/batch-00001.parquet")
    assert "column 'value' holds list<" in problem


def test_columns_that_no_table_has_are_not_read(store: RunStore) -> None:
    table = to_table([make_record(0)], row_class=Record)
    foreign = pa.table([*table.columns, pa.array(["y" * 1000])], names=[*table.column_names, "more"])
    path = Path(store.where) / "records" / "trial-00000-r000.parquet"
    path.parent.mkdir()
    path.write_bytes(parquet_bytes(foreign.replace_schema_metadata(table.schema.metadata)))
    assert store.records() == [make_record(0)]
    assert store.problems == []


def test_tables_of_many_trials_stay_well_below_the_limits(full_store: RunStore) -> None:
    for table, row_class in (
        (to_table(full_store.records(), row_class=Record), Record),
        (full_store.evaluations(), EvaluationRow),
        (full_store.weights(), WeightRow),
    ):
        # The limit takes so many as the least.
        assert len(parquet_bytes(table)) > 3 * table.num_rows * part_limits.BYTES_A_ROW[row_class.__name__]


def test_front_has_page_checksums_and_no_flipped_bit_gives_another_value(full_store: RunStore) -> None:
    table = write_front(full_store, full_store.records())
    path = Path(full_store.where) / "front.parquet"
    data, found = path.read_bytes(), 0
    assert pq.read_table(path).equals(table)
    for bit in range(0, 8 * len(data), 8 * len(data) // 100):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            read = pq.ParquetFile(io.BytesIO(changed), page_checksum_verification=True).read()
            read.validate(full=True)
            known = [name for name in read.column_names if name in table.column_names]
            columns = {name: read[name].cast(table.schema.field(name).type) for name in known}
        except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError):
            found += 1
            continue
        # A name in the footer may change: then the column is not there.
        assert all(columns[name].equals(table[name]) for name in columns)
    assert found > 50
    assert schema_of(Record).names == table.column_names[: len(schema_of(Record))]
    assert set(table["run_id"].to_pylist()) == {RUN_ID}
