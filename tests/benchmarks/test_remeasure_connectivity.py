"""Latencies are measured again: a portion at a time, resumed after a kill, with the rest of the table unchanged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import latencies
from benchmarks.latencies import read
from benchmarks.remeasure_connectivity import COLUMNS, measure, write
from benchmarks.train_connectivity import TABLE, space
from depthweave.trainers import hardware
from tests.search.ledger_runs import make_measurement


@pytest.fixture(name="table")
def _table(tmp_path: Path) -> Path:
    """A copy of the table with ten architectures, all their seeds."""
    whole = pq.read_table(TABLE)
    ids = [item.architecture.id for item in space()][:10]
    path = tmp_path / "connectivity.parquet"
    pq.write_table(whole.filter(pc.is_in(whole["architecture_id"], pa.array(ids))), path)
    return path


class Stopwatch:
    """Says 2.0 to all, and notes how many were timed in turn."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, architectures: list[Any], **settings: Any) -> list[Any]:
        self.asked.append(len(architectures))
        found = make_measurement(latency=2.0)
        return [dataclasses.replace(found, latency_low=1.99, latency_high=2.01) for _ in architectures]


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    made = Stopwatch()
    monkeypatch.setattr(latencies, "measure_in_turn", made)
    return made


def test_measuring_goes_on_where_it_was_killed(table: Path, tmp_path: Path, stopwatch: Stopwatch) -> None:
    kept = tmp_path / "new" / "latencies.jsonl"
    measure(table, kept=kept, only=3)
    assert len(read(kept)) == 3
    measure(table, kept=kept)
    assert stopwatch.asked == [3, 7]
    assert len(read(kept)) == 10
    measure(table, kept=kept)
    assert len(stopwatch.asked) == 2


def test_only_latencies_change(table: Path, tmp_path: Path, stopwatch: Stopwatch) -> None:
    before, kept = pq.read_table(table), tmp_path / "latencies.jsonl"
    measure(table, kept=kept)
    printed = write(table, measured=read(kept))
    after = pq.read_table(table)
    assert set(after.column("latency").to_pylist()) == {2.0}
    assert after.column_names == before.column_names
    others = [name for name in before.column_names if name not in COLUMNS]
    assert after.select(others).equals(before.select(others))
    here = {"hardware": [hardware(torch.device("cpu"))], "torch": [torch.__version__]}
    assert json.loads(after.schema.metadata[b"latencies"]) == here, "the table may have come from another machine"
    kept_metadata = {key: value for key, value in before.schema.metadata.items() if key != b"latencies"}
    assert {key: after.schema.metadata[key] for key in kept_metadata} == kept_metadata
    assert f"{len(before)} rows; intervals 1.0% wide" in printed


def test_part_of_the_table_is_not_written(table: Path, tmp_path: Path, stopwatch: Stopwatch) -> None:
    before, kept = table.read_bytes(), tmp_path / "latencies.jsonl"
    measure(table, kept=kept, only=3)
    with pytest.raises(SystemExit, match="7 of 10 architectures are not measured yet"):
        write(table, measured=read(kept))
    assert table.read_bytes() == before
