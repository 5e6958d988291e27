"""Rows to Arrow and back, and what the schema says of itself."""

from __future__ import annotations

import dataclasses
import typing

import pyarrow as pa
import pytest

from depthweave.reports.store.arrow_rows import from_table, schema_of, to_table
from depthweave.reports.store.records import SCHEMA_VERSION, EvaluationRow, Record, WeightRow
from tests.reports.synthetic import make_evaluations, make_record, make_weights

# Columns that design.md promises by name.
PROMISED = ("architecture_id", "seed", "state", "fusion", "dilation", "period", "depth", "parameters", "perplexity")


@pytest.mark.parametrize("row_class", [Record, EvaluationRow, WeightRow])
def test_schema_every_field_has_meaning_and_version(row_class: type[typing.Any]) -> None:
    schema = schema_of(row_class)
    assert schema.names == [item.name for item in dataclasses.fields(row_class)]
    assert all(item.metadata[b"meaning"] for item in schema)
    assert schema.metadata[b"depthweave.schema"] == row_class.__name__.encode()
    assert schema.metadata[b"depthweave.schema_version"] == str(SCHEMA_VERSION).encode()


def test_schema_promised_columns_present() -> None:
    assert {*PROMISED, "latency", "memory_bytes"} <= set(schema_of(Record).names)


def test_schema_units_follow_names() -> None:
    units = {item.name: item.metadata[b"unit"] for item in schema_of(Record)}
    assert all(unit == b"byte" for name, unit in units.items() if name.endswith("_bytes"))
    assert all(unit == b"s" for name, unit in units.items() if name.endswith("_s") and name != "tokens_per_s")


def test_round_trip_records_equal() -> None:
    rows = [make_record(0), make_record(1, fusion="none", dilation=None, period=None, perplexity=None)]
    assert from_table(to_table(rows, row_class=Record), row_class=Record) == rows


def test_round_trip_curves_and_weights_equal() -> None:
    record = make_record(3)
    evaluations, weights = make_evaluations(record), make_weights(record)
    assert from_table(to_table(evaluations, row_class=EvaluationRow), row_class=EvaluationRow) == evaluations
    assert from_table(to_table(weights, row_class=WeightRow), row_class=WeightRow) == weights


def test_to_table_missing_required_raises() -> None:
    broken = dataclasses.replace(make_record(0), fusion=typing.cast(str, None))
    with pytest.raises(ValueError, match=r"Record\.fusion is missing in 1 rows"):
        to_table([broken], row_class=Record)


def test_from_table_older_columns_become_none() -> None:
    table = to_table([make_record(0)], row_class=Record).drop_columns(["trial_latency", "attempts"])
    (row,) = from_table(table, row_class=Record)
    assert row.attempts is None
    assert row.perplexity == 4.0


def test_from_table_unknown_columns_ignored() -> None:
    table = to_table([make_record(0)], row_class=Record).append_column("later", pa.array([1]))
    assert from_table(table, row_class=Record) == [make_record(0)]
