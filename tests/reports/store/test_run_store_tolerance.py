"""Tolerances in a run's folder: kept, read back, and absent in runs of earlier versions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.checksums import verified_values
from tests.reports.synthetic import make_info, make_record


@pytest.mark.parametrize("tolerances", ["[0.1]", "[2.0, 0.1]", '["a", 0.1]', "3"])
def test_run_json_with_wrong_tolerances_is_one_line(tmp_path: Path, tolerances: str) -> None:
    info = make_info(objectives=("perplexity", "latency"), tolerances=(0.5, 0.25))
    store = RunStore.create(tmp_path / "run", info=info, spec_yaml="")
    # Earlier versions kept no checksum.
    text = json.dumps(verified_values(json.loads(store.read_bytes("run.json"))))
    spelt = re.sub(r"\[\s*0\.5,\s*0\.25\s*\]", tolerances, text)
    assert spelt != text
    store.write_bytes("run.json", spelt.encode())
    with pytest.raises(ValueError, match="not readable as a run"):
        RunStore.open(store.where)


def test_run_of_an_earlier_version_has_the_default_tolerances(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="")
    values = verified_values(json.loads(store.read_bytes("run.json")))
    del values["tolerances"]
    store.write_bytes("run.json", json.dumps(values).encode())
    found = RunStore.open(store.where).info.tolerance_of
    assert found == {"perplexity": 0.005, "latency": 0.02, "memory_bytes": 0.01}


def test_records_of_the_fourth_schema_have_no_parts_and_no_intervals_of_steps(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="")
    new = ["text_losses", *(f"{name}_{end}" for name in ("step_latency", "decode_latency") for end in ("low", "high"))]
    store.append(make_record(1, text_losses="[1.5, 1.25]", step_latency_low=1.1), evaluations=[], weights=[])
    table = to_table([make_record(0)], row_class=Record).drop_columns(new)
    older = {**table.schema.metadata, b"depthweave.schema_version": b"4"}
    pq.write_table(table.replace_schema_metadata(older), Path(store.where) / "records" / "trial-00000-r000.parquet")
    for _ in range(2):
        found = store.records()
        assert [(row.text_losses, row.step_latency_low) for row in found] == [(None, None), ("[1.5, 1.25]", 1.1)]
        store.merge()
    assert store.problems == []
