"""One Parquet file of a run: writes a table as bytes, and reads bytes as a checked table.

Pages have checksums: a flipped bit on a disk makes the file unreadable and never changes a number.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from depthweave.reports.store.arrow_rows import Row, schema_of
from depthweave.reports.store.bounds import ValidRows, valid_rows
from depthweave.reports.store.parquet_limits import TooLargeError, check_footer, check_texts
from depthweave.reports.store.records import SCHEMA_VERSION


class LaterSchemaError(ValueError):
    """A file that a later Depthweave wrote. It is not damaged, so it must not be left out silently."""


class UnusableFileError(Exception):
    """A readable Parquet file that does not belong to this table."""


def parquet_bytes(table: pa.Table) -> bytes:
    """Returns the table as Parquet."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def read_parquet(data: bytes, *, row_class: type[Row], run_id: str, trial: int | None) -> ValidRows:
    """Returns the table of a file in this version's columns, any of which may hold nulls.

    Rows that break the columns' bounds are left out. With `trial`, the file may hold rows of that trial only.
    Raises `UnusableFileError`, an Arrow error, `ValueError`, `LookupError` or `OverflowError` where the bytes are not
    such a table, and `LaterSchemaError` where this code is too old for it.
    """
    schema = schema_of(row_class)
    footer = pq.read_metadata(io.BytesIO(data))
    held = set(footer.schema.names)
    texts = [item.name for item in schema if pa.types.is_string(item.type) and item.name in held]
    file = pq.ParquetFile(io.BytesIO(data), metadata=footer, page_checksum_verification=True, read_dictionary=texts)
    # pyarrow converts the whole schema each time that it is asked for it.
    file_schema = file.schema_arrow
    version = _version(file_schema.metadata or {}, row_class=row_class)
    if version > SCHEMA_VERSION:
        raise LaterSchemaError(f"schema version {version}, this Depthweave reads up to {SCHEMA_VERSION}: upgrade it")
    names = set(file_schema.names)
    try:
        check_footer(file, row_class=row_class.__name__, num_bytes=len(data))
        known = [name for name in schema.names if name in names]
        read = file.read(columns=known, use_threads=False)
        check_texts(read, num_bytes=len(data))
    except TooLargeError as error:
        raise UnusableFileError(str(error)) from None
    table = _in_columns(read, schema, version=version)
    # Finds text that is not UTF-8, for example.
    table.validate(full=True)
    # An absent column did not exist when the file was written. A column with a default may be null for that reason too.
    absent = set(schema.names) - names
    optional = {item.name for item in dataclasses.fields(row_class) if item.default is not dataclasses.MISSING}
    required = {item.name for item in schema if not item.nullable} - absent - optional
    sound = valid_rows(table, row_class=row_class, required=required)
    table = sound.table
    runs = pc.unique(table["run_id"]).to_pylist()
    if runs and runs != [run_id]:
        raise UnusableFileError(f"belongs to run {runs[0]!r}, not to {run_id!r}")
    if trial is not None and table.num_rows and pc.unique(table["trial"]).to_pylist() != [trial]:
        raise UnusableFileError(f"holds another trial than {trial}")
    return sound


def _version(metadata: dict[bytes, bytes], *, row_class: type[Any]) -> int:
    name = metadata.get(b"depthweave.schema", b"").decode(errors="replace")
    if name != row_class.__name__:
        what = f"a table of {name}" if name else "Parquet that Depthweave did not write"
        raise UnusableFileError(f"{what}, expected {row_class.__name__}")
    text = metadata.get(b"depthweave.schema_version", b"").decode(errors="replace")
    if not text.isdigit():
        raise UnusableFileError(f"schema version {text!r} is not a number")
    return int(text)


def _in_columns(table: pa.Table, schema: pa.Schema, *, version: int) -> pa.Table:
    """Returns the table in exactly the columns of `schema`; the columns that an older version lacks are null."""
    present = set(table.column_names)
    absent = [name for name in schema.names if name not in present]
    if absent and (version == SCHEMA_VERSION or {"run_id", "trial"} & set(absent)):
        raise UnusableFileError(f"column {absent[0]!r} is missing")
    columns = [
        table[item.name].cast(item.type) if item.name in present else pa.nulls(table.num_rows, item.type)
        for item in schema
    ]
    return pa.table(columns, schema=nullable(schema))


def nullable(schema: pa.Schema) -> pa.Schema:
    """Returns the schema with every column nullable."""
    return pa.schema([item.with_nullable(True) for item in schema], metadata=schema.metadata)


def as_strict_as_possible(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns the table with required columns declared as such, except those that hold nulls."""
    fields: Sequence[pa.Field] = [item.with_nullable(True) if table[item.name].null_count else item for item in schema]
    return table.cast(pa.schema(fields, metadata=schema.metadata))
