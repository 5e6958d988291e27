"""List columns of a record: through Arrow and Parquet, out of bounds, and files that lack them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depthweave.reports.store.arrow_rows import from_table, schema_of, to_table
from depthweave.reports.store.parquet_file import parquet_bytes, read_parquet
from depthweave.reports.store.records import Record
from depthweave.reports.store.score_rows import EntityScore, LayerWeight, TypeScore
from tests.reports.synthetic import make_record

SCORE = EntityScore(shots=50, draw=0, step=100, precision=0.5, recall=0.25, f1=1 / 3)
LISTS: dict[str, Any] = {
    "entity_scores": (SCORE, dataclasses.replace(SCORE, step=200, f1=0.5)),
    "type_scores": (TypeScore(shots=50, draw=1, type="person", precision=1.0, recall=0.0, f1=0.0, support=7),),
    "layer_weights": (LayerWeight(shots=50, draw=0, type="", layer=3, weight=-0.25),),
}


def through_parquet(records: list[Record]) -> tuple[list[Record], str]:
    data = parquet_bytes(to_table(records, row_class=Record))
    found = read_parquet(data, row_class=Record, run_id=records[0].run_id, trial=None)
    return from_table(found.table, row_class=Record), found.left_out


def test_lists_come_back_equal_through_parquet_beside_rows_without() -> None:
    rows = [make_record(0, **LISTS), make_record(1), make_record(2, entity_scores=())]
    assert through_parquet(rows) == (rows, "")


def test_whole_numbers_are_int32_and_every_field_explains_itself() -> None:
    for name in LISTS:
        element = schema_of(Record).field(name).type.value_type
        fields = [element.field(number) for number in range(element.num_fields)]
        assert {it.type for it in fields if it.name in ("shots", "draw", "step", "layer", "support")} == {pa.int32()}
        assert all(it.metadata[b"meaning"] for it in fields)


def test_pandas_reads_the_lists(tmp_path: Path) -> None:
    (tmp_path / "records.parquet").write_bytes(parquet_bytes(to_table([make_record(0, **LISTS)], row_class=Record)))
    (found,) = pq.read_table(tmp_path / "records.parquet")["type_scores"].to_pylist()
    assert found == [dataclasses.asdict(LISTS["type_scores"][0])]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("entity_scores", {"f1": 1.5}, "f1 is 1.5, it must be at most 1"),
        ("entity_scores", {"precision": float("nan")}, "precision is nan, it must be a number"),
        ("entity_scores", {"draw": -1}, "draw is -1, it must be at least 0"),
        ("layer_weights", {"weight": float("inf")}, "weight is inf, it must be finite"),
    ],
)
def test_row_with_a_value_out_of_bounds_is_left_out_and_named(name: str, changes: Any, message: str) -> None:
    sound = make_record(0, **LISTS)
    faulty = make_record(1, **{name: (dataclasses.replace(LISTS[name][0], **changes),)})
    kept, left_out = through_parquet([sound, faulty])
    assert kept == [sound]
    assert f"trial 1: {name}" in left_out
    assert message in left_out


def test_file_of_an_earlier_version_has_no_lists() -> None:
    new = ("f1", "test_error", "test_f1", "head", *LISTS)
    table = to_table([make_record(0)], row_class=Record).drop_columns(list(new))
    metadata = {**table.schema.metadata, b"depthweave.schema_version": b"8"}
    data = parquet_bytes(table.replace_schema_metadata(metadata))
    found = read_parquet(data, row_class=Record, run_id=make_record(0).run_id, trial=None)
    (record,) = from_table(found.table, row_class=Record)
    assert record == make_record(0)
    assert [getattr(record, name) for name in new] == [None] * len(new)


def test_other_nested_columns_are_refused() -> None:
    from depthweave.reports.store.parquet_file import UnusableFileError

    table = to_table([make_record(0)], row_class=Record)
    for name, values in (("more", pa.array([[1]])), ("entity_scores", pa.array([[{"shots": "x"}]]))):
        kept = table.drop_columns([name]) if name in table.column_names else table
        data = parquet_bytes(kept.append_column(name, values))
        with pytest.raises(UnusableFileError, match=f"column '{name}' holds list"):
            read_parquet(data, row_class=Record, run_id=make_record(0).run_id, trial=None)
