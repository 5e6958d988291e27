"""Tables of trained architectures as sources of a warm start: a Parquet file with a row a training.

A table gives losses to learn from. Nothing of it is taken over: its rows have no weights, and a spec has another
recipe. Each part of a table (column `part`: a size, a text) is a source of its own.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from depthweave.reports.store.storage import Storage
from depthweave.reports.store.warm_start import SourceRun
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.space import MAX_DEPTH

SUFFIX = ".parquet"
"""An address that ends so is a table."""
COLUMNS = ("fusion", "depth", "sites", "width", "heads", "feed_forward", "vocabulary", "context", "loss")
"""Of a row: the architecture, and its final loss or a list of losses that ends with it."""
_PART = "part"
_MAX_BYTES = 2**28
"""Of a file, and of its pages when unpacked."""


class _Trained(NamedTuple):
    """A row of a table."""

    part: str
    architecture: Architecture
    loss: float


def is_table(address: str) -> bool:
    """Returns whether an address of a source is that of a table."""
    return address.partition("?")[0].endswith(SUFFIX)


def table_sources(address: str) -> list[SourceRun]:
    """Returns a source for each part of a table, in the order of its rows.

    Rows of architectures that this version does not know, and without a finite loss, are left out. Raises `ValueError`,
    one line, where the file is not there, is no such table, or no row is left.
    """
    data = _bytes(address)
    losses: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    architectures: dict[str, Architecture] = {}
    for row in _trained(_rows(data, address=address)):
        losses[row.part][row.architecture.id].append(row.loss)
        architectures[row.architecture.id] = row.architecture
    if not losses:
        raise ValueError(f"{address}: no row has a finite loss of an architecture that this version knows")
    file_name = address.partition("?")[0].rpartition("/")[2]
    digest = hashlib.sha256(data).hexdigest()[:12]
    return [
        SourceRun(
            name=f"{file_name} ({part})" if part else file_name,
            run_id=f"{digest}/{part}" if part else digest,
            address=address,
            num_records=sum(map(len, found.values())),
            taken_over={},
            differs=(),
            architectures=tuple(architectures[key].to_dict() for key in found),
            losses=tuple(statistics.fmean(own) for own in found.values()),
            is_table=True,
        )
        for part, found in losses.items()
    ]


def _bytes(address: str) -> bytes:
    folder, _, name = address.partition("?")[0].rpartition("/")
    mark, query = address.partition("?")[1:]
    storage = Storage(f"{folder or '.'}{mark}{query}")
    try:
        size = storage.info(name).size
        if size is not None and size > _MAX_BYTES:
            raise ValueError(f"{address}: has {size:,} bytes; a table has at most {_MAX_BYTES:,}")
        return storage.read(name)
    except FileNotFoundError:
        raise ValueError(f"{address}: no such file: name the Parquet file of a table") from None


def _rows(data: bytes, *, address: str) -> list[dict[str, Any]]:
    """Returns the needed columns; raises `ValueError`, one line, where the file is no table of architectures."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        metadata = file.metadata
        unpacked = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
        if unpacked > _MAX_BYTES:
            raise ValueError(f"it has {unpacked:,} bytes when unpacked, at most {_MAX_BYTES:,} are read")
        names = file.schema_arrow.names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        wanted = [name for name in (_PART, *COLUMNS) if name in names]
        rows: list[dict[str, Any]] = file.read(columns=wanted).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{address}: is no table of trained architectures ({reason})") from None
    return rows


def _trained(rows: list[dict[str, Any]]) -> Iterator[_Trained]:
    for row in rows:
        found, loss = _architecture(row), row["loss"]
        last = loss[-1] if isinstance(loss, list) and loss else loss
        if found is not None and isinstance(last, int | float) and math.isfinite(last):
            yield _Trained(str(row.get(_PART) or ""), found, float(last))


def _architecture(row: Mapping[str, Any]) -> Architecture | None:
    """Returns the architecture of a row; `None` where this version has no such one, or searches none so deep."""
    values = {name: row[name] for name in COLUMNS if name not in ("sites", "loss")}
    try:
        sites = [[site["block"], site["sources"]] for site in row["sites"]]
        found = Architecture.from_dict({**values, "sites": sites})
    except (ValueError, TypeError, LookupError):
        return None
    return found if found.depth <= MAX_DEPTH else None
