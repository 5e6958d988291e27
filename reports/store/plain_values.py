"""A column of a table as plain Python values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plain_values(column: pa.ChunkedArray, *, default: Any) -> list[Any]:
    """Returns a column as Python values, with the default for a null: older files of a table lack some columns."""
    array = column.combine_chunks()
    if pa.types.is_list(array.type):
        lists: list[Any] = array.to_pylist()
        return lists
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        # Most texts repeat in every row, so each distinct one is converted once.
        coded = array.dictionary_encode()
        texts = [*coded.dictionary.to_pylist(), default]
        return [texts[index] for index in coded.indices.fill_null(-1).to_pylist()]
    if pa.types.is_timestamp(array.type):
        times_us = array.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
        return [default if it is None else _EPOCH + timedelta(microseconds=it) for it in times_us]
    if pa.types.is_boolean(array.type):
        values: list[Any] = array.to_pylist()
    else:
        values = array.fill_null(0).to_numpy().tolist()
    for index in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)) if array.null_count else ():
        values[index] = default
    return values
