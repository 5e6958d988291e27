"""Measures the latencies of the connectivity table again, with today's method. Only those columns change.

    OMP_NUM_THREADS=1 python -m benchmarks.remeasure_connectivity            # what is missing; continues
    OMP_NUM_THREADS=1 python -m benchmarks.remeasure_connectivity --only 3   # some more, for a look
    python -m benchmarks.remeasure_connectivity --write                      # into benchmarks/data/connectivity.parquet

Run it with nothing else running. Architectures are measured eight at a time, in turn with the reference, on one
thread, until every interval is within 1 % or each has had 15 s (twice that on a noisy machine): 139 take 35 minutes, at
most 70. A portion is kept under `runs/connectivity/` as soon as it is measured, so a kill loses one. `--write` refuses
a part of the table: old and new latencies must not be mixed. `--table` names a copy.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.latencies import LIMIT_S, Latencies, read
from benchmarks.train_connectivity import PARTS, RECIPE, TABLE, space

KEPT = PARTS / "latencies.jsonl"
COLUMNS = ("latency", "latency_low", "latency_high")


def main() -> None:
    """Measure what is missing, or write what is there."""
    wanted = _arguments()
    if wanted.write:
        print(write(wanted.table, measured=read(wanted.kept)))
    else:
        torch.set_num_threads(1)
        measure(wanted.table, kept=wanted.kept, only=wanted.only, limit_s=wanted.limit)


def measure(table: Path, *, kept: Path, only: int | None = None, limit_s: float = LIMIT_S) -> None:
    """Measure what the table has and `kept` lacks, at most `only` of them."""
    ids = set(pq.read_table(table, columns=["architecture_id"]).column(0).to_pylist())
    items = [item.architecture for item in space() if item.architecture.id in ids]
    latencies = Latencies(path=kept, reference=space().plain().architecture, recipe=RECIPE)
    latencies.measure(items, only=only, limit_s=limit_s)


def write(table: Path, *, measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Put the latencies into the table, all else as it was, and say what changed.

    `SystemExit` where some are missing.
    """
    old = pq.read_table(table)
    ids = old.column("architecture_id").to_pylist()
    missing = set(ids) - set(measured)
    if missing:
        raise SystemExit(
            f"{table}: {len(missing)} of {len(set(ids))} architectures are not measured yet: measure first"
        )
    new = old
    for name in COLUMNS:
        place = old.schema.get_field_index(name)
        values = pa.array([measured[item][name] for item in ids], type=old.schema.field(place).type)
        new = new.set_column(place, old.schema.field(place), values)
    here = {key: sorted({item[key] for item in measured.values()}) for key in ("hardware", "torch")}
    new = new.replace_schema_metadata({**(old.schema.metadata or {}), b"latencies": json.dumps(here).encode()})
    # Written under another name first: a reader sees the old table or the new one.
    partial = table.with_suffix(".partial")
    pq.write_table(new, partial, compression="zstd", write_page_checksum=True)
    partial.replace(table)
    return _changes(old, new)


def _changes(old: pa.Table, new: pa.Table) -> str:
    """One line: how wide the intervals are, and how far the latencies moved."""

    def widths(table: pa.Table) -> float:
        rows = zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True)
        return statistics.median((high - low) / middle for middle, low, high in rows)

    pairs = zip(old.column("latency").to_pylist(), new.column("latency").to_pylist(), strict=True)
    moved = [abs(after / before - 1.0) for before, after in pairs]
    return (
        f"{len(moved)} rows; intervals {widths(new):.1%} wide (before: {widths(old):.1%}), latencies moved by "
        f"{statistics.median(moved):.1%} in the median and {max(moved):.1%} at most"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write what was measured into the table")
    parser.add_argument("--only", type=int, help="measure at most so many more")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for each architecture")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Parquet file, or a copy of it")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where measured ones are kept, a line each")
    return parser.parse_args()


if __name__ == "__main__":
    main()
