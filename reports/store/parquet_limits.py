"""What a part of a run may take in memory: bounded by its own size before any of its values is read.

Parquet packs what repeats: a file of some megabytes can mean billions of rows, or a long text a million times.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MAX_ROW_GROUPS = 4096
"""Depthweave writes one for each million rows."""
FREE_ROWS = 100_000
"""Of any file, however well it packs."""
BYTES_A_ROW: Mapping[str, int] = {"Record": 16, "EvaluationRow": 2, "WeightRow": 1}
"""The fewest that a row of measured numbers packs into; a loss or a weight alone takes more."""
FREE_BYTES = 2**28
"""Of a column of text, or of all pages unpacked, however short the file is."""
MAX_PACKING = 1000
"""Times as long as the file that they may be beyond that: in a run most texts repeat in every row."""


class TooLargeError(Exception):
    """A part that says more than a file of its size can hold, or in values of another kind."""


def check_footer(file: pq.ParquetFile, *, row_class: str, num_bytes: int) -> None:
    """Raises `TooLargeError` by what the footer says of rows, row groups, pages and kinds of columns."""
    metadata = file.metadata
    most = max(FREE_ROWS, num_bytes // BYTES_A_ROW.get(row_class, 1))
    if metadata.num_rows > most:
        raise TooLargeError(f"{metadata.num_rows:,} rows in {num_bytes:,} bytes: at most {most:,} are read there")
    if metadata.num_row_groups > MAX_ROW_GROUPS:
        raise TooLargeError(f"{metadata.num_row_groups:,} row groups: at most {MAX_ROW_GROUPS:,} are read")
    for item in file.schema_arrow:
        if pa.types.is_nested(item.type) or pa.types.is_fixed_size_binary(item.type):
            raise TooLargeError(f"column {item.name!r:.60} holds {item.type}, no plain values")
    unpacked = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    _check_bytes(unpacked, num_bytes=num_bytes, what="its pages")


def check_texts(table: pa.Table, *, num_bytes: int) -> None:
    """Raises `TooLargeError` where a column of texts that was read as a dictionary is too long when written out."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            lengths = [pc.sum(pc.binary_length(it.dictionary).take(it.indices)).as_py() or 0 for it in column.chunks]
            _check_bytes(sum(lengths), num_bytes=num_bytes, what=f"column {name!r:.60}")


def _check_bytes(length: int, *, num_bytes: int, what: str) -> None:
    most = max(FREE_BYTES, MAX_PACKING * num_bytes)
    if length > most:
        raise TooLargeError(f"{what}: {length:,} bytes when unpacked, at most {most:,} are read")
