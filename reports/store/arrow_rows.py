"""Rows as Arrow tables, with the schema of their class.

The unit, the meaning and the bounds of a field are metadata of its Arrow field, so that a Parquet file explains itself
without this package.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import repeat
from typing import Any, TypeVar

import pyarrow as pa

from depthweave.reports.store.plain_values import plain_values
from depthweave.reports.store.records import SCHEMA_VERSION, EvaluationRow, Record, WeightRow
from depthweave.reports.store.score_rows import LIST_ROWS, list_array, list_type, rows_of

Row = TypeVar("Row", Record, EvaluationRow, WeightRow)

_ROWS_AT_ONCE = 500
"""Rows filled together. So many stay in the processor's cache."""

ARROW_TYPES: Mapping[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def schema_of(row_class: type[Row]) -> pa.Schema:
    """Returns the Arrow schema of a row class: names, types, nullability, and unit and meaning as metadata."""
    # The cast is for mypy, which takes the class for unhashable because its instances are.
    return _schema_of(typing.cast(Any, row_class))


def to_table(rows: Iterable[Row], *, row_class: type[Row]) -> pa.Table:
    """Returns the rows as a table of `schema_of(row_class)`; raises `ValueError` for a null in a required column."""
    schema = schema_of(row_class)
    held = list(rows)
    # Column by column: `dataclasses.asdict` makes deep copies and takes six times as long.
    columns = [_array(item, [getattr(row, item.name) for row in held]) for item in schema]
    table = pa.table(columns, schema=schema)
    for item in schema:
        if not item.nullable and table[item.name].null_count:
            raise ValueError(f"{row_class.__name__}.{item.name} is missing in {table[item.name].null_count} rows")
    return table


def _array(field: pa.Field, values: list[Any]) -> pa.Array:
    return list_array(field.name, values) if field.name in LIST_ROWS else pa.array(values, field.type)


def from_table(table: pa.Table, *, row_class: type[Row]) -> list[Row]:
    """Returns the rows of a table of this or an older schema version; a missing column has its default or `None`."""
    # Slot by slot: keyword arguments, row by row, take ten times as long. No row class has checks of its own to skip.
    columns: list[tuple[Callable[[Row, Any], None], Iterator[Any]]] = []
    for item in dataclasses.fields(row_class):
        default = None if item.default is dataclasses.MISSING else item.default
        known = item.name in table.column_names
        values = plain_values(table[item.name], default=default) if known else repeat(default)
        if known and item.name in LIST_ROWS:
            values = [rows_of(item.name, value) for value in values]
        columns.append((getattr(row_class, item.name).__set__, iter(values)))
    rows: list[Row] = []
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        some = [row_class.__new__(row_class) for _ in range(min(_ROWS_AT_ONCE, table.num_rows - start))]
        for set_value, values_left in columns:
            # A deque of length 0 is the fastest way to exhaust a map.
            deque(map(set_value, some, values_left), maxlen=0)
        rows += some
    return rows


@cache
def _schema_of(row_class: Any) -> pa.Schema:
    hints = typing.get_type_hints(row_class)
    fields = []
    for item in dataclasses.fields(row_class):
        if item.name in LIST_ROWS:
            metadata = {"unit": item.metadata["unit"], "meaning": item.metadata["meaning"]}
            fields.append(pa.field(item.name, list_type(item.name), metadata=metadata))
            continue
        kind, nullable = _without_none(hints[item.name])
        metadata = {"unit": item.metadata["unit"], "meaning": item.metadata["meaning"]}
        metadata |= item.metadata["bounds"].metadata()
        fields.append(pa.field(item.name, ARROW_TYPES[kind], nullable=nullable, metadata=metadata))
    metadata = {"depthweave.schema": row_class.__name__, "depthweave.schema_version": str(SCHEMA_VERSION)}
    return pa.schema(fields, metadata=metadata)


def _without_none(hint: Any) -> tuple[type, bool]:
    if isinstance(hint, types.UnionType):
        (kind,) = (item for item in typing.get_args(hint) if item is not type(None))
        return kind, True
    return hint, False
