"""`front.parquet` holds the joint front and that of each pair of the quality and a cost."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.front_file import front_objectives, front_schema, write_front
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_info, make_record


def test_write_front_joint_and_pairs(full_store: RunStore) -> None:
    table = pq.read_table(Path(full_store.where) / "front.parquet")
    assert table.schema.equals(front_schema())
    records = full_store.records()
    assert set(table["objectives"].to_pylist()) == {
        "perplexity,latency,memory_bytes",
        "perplexity,latency",
        "perplexity,memory_bytes",
    }
    for label in set(table["objectives"].to_pylist()):
        rows = [row["trial"] for row in table.to_pylist() if row["objectives"] == label]
        assert rows == [row.trial for row in front(records, objectives=label.split(","))]
    assert set(table["state"].to_pylist()) == {"complete"}


def test_write_front_of_nothing_is_an_empty_table(store: RunStore) -> None:
    assert write_front(store, []).num_rows == 0
    assert pq.read_table(Path(store.where) / "front.parquet").schema.equals(front_schema())


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        (("perplexity", "latency"), [("perplexity", "latency")]),
        (("latency", "perplexity"), [("latency", "perplexity")]),
        (("bits_per_byte", "latency"), [("bits_per_byte", "latency")]),
        (("perplexity",), [("perplexity",)]),
    ],
)
def test_front_objectives(objectives: tuple[str, ...], expected: list[tuple[str, ...]]) -> None:
    assert front_objectives(objectives) == expected


def test_front_parquet_names_the_distinct_member_of_each_twin(tmp_path: Path) -> None:
    info = make_info(objectives=("perplexity", "latency"), tolerances=(0.005, 0.1))
    store = RunStore.create(tmp_path / "run", info=info, spec_yaml="")
    for trial, (perplexity, latency) in enumerate(((4.0, 1.05), (4.01, 1.0), (6.0, 0.5))):
        record = make_record(trial, perplexity=perplexity, loss=math.log(perplexity), latency=latency)
        store.append(record, evaluations=[], weights=[])
    rows = write_front(RunStore.open(store.where), store.records()).to_pylist()
    assert [(row["trial"], row["twin_of"]) for row in rows] == [
        (0, make_record(0).architecture_id),
        (1, make_record(0).architecture_id),
        (2, make_record(2).architecture_id),
    ]
