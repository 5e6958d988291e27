"""A search that starts from a table of trained architectures, and the tables that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depthweave.reports.analysis.source_runs import start_line
from depthweave.reports.store.storage import Storage
from depthweave.reports.store.warm_start import WARM_START_FILE, read_warm_start
from depthweave.search.preparation import create_run
from depthweave.search.spec.loading import make_spec
from depthweave.search.warm_start.sources import check_sources
from depthweave.search.warm_start.start import begin_warm_start, source_losses
from depthweave.search.warm_start.tables import COLUMNS, is_table, table_sources
from depthweave.spaces.architecture import Architecture
from tests.search.search_runs import RecordingProgress
from tests.search.warm_runs import opened, prepared_of, source_run


def _row(architecture: Architecture, *, loss: float | list[float], **more: Any) -> dict[str, Any]:
    values = architecture.to_dict()
    sites = [{"block": block, "sources": sources} for block, sources in values.pop("sites")]
    return {**values, "sites": sites, "loss": loss, **more}


def _table(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def architectures(small_spec: dict[str, Any]) -> list[Architecture]:
    return [item.architecture for item in prepared_of(small_spec).space]


def test_each_part_is_a_source_with_the_means_over_seeds(tmp_path: Path, architectures: list[Architecture]) -> None:
    first, second = architectures[:2]
    rows = [
        _row(first, loss=[3.0, 2.0], part="small", seed=0),
        _row(first, loss=[3.0, 2.2], part="small", seed=1),
        _row(second, loss=[3.0, 1.9], part="small", seed=0),
        _row(second, loss=[3.0, float("nan")], part="large", seed=0),
        _row(second, loss=[3.0, 1.5], part="large", seed=1),
        {**_row(first, loss=[1.0], part="large", seed=0), "fusion": "of another version"},
    ]
    small, large = table_sources(str(_table(tmp_path / "known.parquet", rows)))
    assert (small.name, large.name) == ("known.parquet (small)", "known.parquet (large)")
    assert [Architecture.from_dict(item) for item in small.architectures] == [first, second]
    assert small.losses == pytest.approx((2.1, 1.9))
    assert (large.architectures, large.losses) == ((second.to_dict(),), (1.5,))
    assert (small.num_records, large.num_records) == (3, 1)
    assert small.is_table
    assert small.run_id != large.run_id


def test_a_table_without_parts_is_one_source_of_final_losses(tmp_path: Path, architectures: list[Architecture]) -> None:
    path = _table(tmp_path / "plain.parquet", [_row(item, loss=2.0) for item in architectures])
    (found,) = table_sources(str(path))
    assert found.name == "plain.parquet"
    assert len(found.losses) == len(architectures)


def test_a_search_learns_from_a_table_and_a_run_and_keeps_both(
    small_spec: dict[str, Any], tmp_path: Path, architectures: list[Architecture]
) -> None:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=(2.0, 1.9, 1.8))
    path = _table(tmp_path / "known.parquet", [_row(item, loss=2.0) for item in architectures])
    prepared = prepared_of(small_spec, sources=[path, tmp_path / "first"])
    store, progress = create_run(prepared, out=tmp_path / "second"), RecordingProgress()
    with opened(prepared, store, hardware="a processor", progress=progress) as run:
        found = begin_warm_start(run, local=True)
    assert progress.notes == [
        "run small: 3 records taken over",
        f"table known.parquet: {len(architectures)} architectures to learn from",
    ]
    assert [item.name for item in source_losses(store, found)] == ["known.parquet"]
    # A resumed search needs no table.
    path.unlink()
    assert read_warm_start(store) == found


def test_sources_of_earlier_versions_are_runs(small_spec: dict[str, Any], tmp_path: Path) -> None:
    source_run(prepared_of(small_spec), tmp_path / "first", losses=(2.0,))
    prepared = prepared_of(small_spec, sources=[tmp_path / "first"])
    store = create_run(prepared, out=tmp_path / "second")
    with opened(prepared, store, hardware="a processor") as run:
        begin_warm_start(run, local=True)
    values = json.loads(store.read_bytes(WARM_START_FILE))
    del values["sources"][0]["kind"], values["sha256"]
    store.write_bytes(WARM_START_FILE, json.dumps(values).encode())
    assert start_line(read_warm_start(store).sources[0]).startswith("run small")


def test_what_is_no_table_is_refused_in_one_line(
    small_spec: dict[str, Any], tmp_path: Path, architectures: list[Architecture]
) -> None:
    def refusal(*paths: Path) -> str:
        names = [str(item) for item in paths]
        spec = make_spec({**small_spec, "search": {**small_spec["search"], "warm_start": names}})
        with pytest.raises(ValueError, match=r"search\.warm_start") as caught:
            check_sources(spec, out=Storage(tmp_path / "run"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file: name the Parquet file" in refusal(tmp_path / "gone.parquet")
    text = tmp_path / "text.parquet"
    text.write_text("no table")
    assert "is no table of trained architectures" in refusal(text)
    good = _row(architectures[0], loss=2.0)
    lacking = [{name: value for name, value in good.items() if name != "heads"}]
    assert "it lacks the columns heads" in refusal(_table(tmp_path / "lacking.parquet", lacking))
    wrong_values = {"sites": 1, "loss": "low", "fusion": 5, "width": None, "depth": 10**9, "heads": "two"}
    for name, wrong in wrong_values.items():
        assert name in COLUMNS
        assert "no row has a finite loss" in refusal(_table(tmp_path / "wrong.parquet", [{**good, name: wrong}]))
    assert "no row has a finite loss" in refusal(_table(tmp_path / "failed.parquet", [{**good, "loss": float("inf")}]))
    first = _table(tmp_path / "first.parquet", [good])
    assert "is the same table as another source" in refusal(first, _table(tmp_path / "again.parquet", [good]))


def test_an_address_of_a_table_may_have_options() -> None:
    assert is_table("s3://bucket/known.parquet?region=x")
    assert not is_table("runs/known")
