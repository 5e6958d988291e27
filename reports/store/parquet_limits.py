"""Bounds the memory that a Parquet file of a run may take, by its own size, before any of its values is read.

Parquet compresses repeated values: a file of some megabytes can hold billions of rows, or a long text a million times.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from depthweave.reports.store.score_rows import LIST_ROWS, list_type

MAX_ROW_GROUPS = 4096
"""Depthweave writes one for each million rows."""
FREE_ROWS = 100_000
"""So many rows are allowed in any file, however small it is."""
BYTES_A_ROW: Mapping[str, int] = {"Record": 16, "EvaluationRow": 2, "WeightRow": 1}
"""Fewest compressed bytes of a row of measured numbers. A loss or a weight alone takes more."""
FREE_BYTES = 2**28
"""So many uncompressed bytes are allowed for a text column, or for all pages, however small the file is."""
MAX_PACKING = 1000
"""Beyond that, the largest ratio of uncompressed bytes to the file's size. In a run most texts repeat in every row."""


class TooLargeError(Exception):
    """A file that claims more rows or bytes than one of its size can hold, or has nested values that no table has."""


def check_footer(file: pq.ParquetFile, *, row_class: str, num_bytes: int) -> None:
    """Raises `TooLargeError` where the footer has too many rows, row groups or bytes, or an unknown nested column."""
    metadata = file.metadata
    most = max(FREE_ROWS, num_bytes // BYTES_A_ROW.get(row_class, 1))
    if metadata.num_rows > most:
        raise TooLargeError(f"{metadata.num_rows:,} rows in {num_bytes:,} bytes: at most {most:,} are read there")
    if metadata.num_row_groups > MAX_ROW_GROUPS:
        raise TooLargeError(f"{metadata.num_row_groups:,} row groups: at most {MAX_ROW_GROUPS:,} are read")
    for item in file.schema_arrow:
        if item.name in LIST_ROWS and item.type.equals(list_type(item.name)):
            continue
        if pa.types.is_nested(item.type) or pa.types.is_fixed_size_binary(item.type):
            raise TooLargeError(f"column {item.name!r:.60} holds {item.type}, not plain values")
    unpacked = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    _check_bytes(unpacked, num_bytes=num_bytes, what="its pages")


def check_texts(table: pa.Table, *, num_bytes: int) -> None:
    """Raises `TooLargeError` where a text column that was read as a dictionary is too long without the dictionary."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            lengths = [pc.sum(pc.binary_length(it.dictionary).take(it.indices)).as_py() or 0 for it in column.chunks]
            _check_bytes(sum(lengths), num_bytes=num_bytes, what=f"column {name!r:.60}")


def _check_bytes(length: int, *, num_bytes: int, what: str) -> None:
    most = max(FREE_BYTES, MAX_PACKING * num_bytes)
    if length > most:
        raise TooLargeError(f"{what}: {length:,} bytes when unpacked, at most {most:,} are read")
