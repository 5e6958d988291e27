"""Parts that disks, crashes and strangers have had their hands in: read as they were written, or left out and named."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.reports.store.arrow_rows import schema_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_info import from_json, to_json
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.checksums import add_checksum
from tests.reports.synthetic import RUN_ID, make_info, make_record

Append = Callable[[Record], None]
_PART = "records/trial-00000-r000.parquet"
_edits = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=3)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, bytes]:
    """A run whose one record is to be spoilt, and the bytes of its part."""
    store = RunStore.create(tmp_path_factory.mktemp("fuzz") / "run", info=make_info(), spec_yaml="")
    store.append(make_record(0), evaluations=[], weights=[])
    return store, (Path(store.where) / _PART).read_bytes()


@settings(max_examples=150, deadline=None)
@given(edits=_edits, kept_frac=st.sampled_from([1.0, 1.0, 1.0, 0.99, 0.5, 0.01, 0.0]))
def test_bytes_that_changed_never_change_a_record(
    edits: list[tuple[float, bytes]], kept_frac: float, spoilt: tuple[RunStore, bytes]
) -> None:
    store, good = spoilt
    path, data = Path(store.where) / _PART, bytearray(good)
    for place_frac, new in edits:
        place = int(place_frac * (len(data) - len(new)))
        data[place : place + len(new)] = new
    path.write_bytes(data[: int(kept_frac * len(data))])
    found = store.records()
    assert found == [make_record(0)] or (not found and len(store.problems) == 1)
    assert all(len(line.splitlines()) == 1 for line in store.problems)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": ["won"]}, "state is 'won', it must be one of complete"),
        ({"fusion": [None]}, "column 'fusion' is empty in 1 rows"),
        ({"trial": [None]}, "column 'trial' is empty in 1 rows"),
        ({"trial": [-7]}, "holds another trial|trial is -7, it must be at least 0"),
        ({"depth": ["many"]}, "many"),
        ({"loss": ["../../x"]}, "../../x"),
    ],
)
def test_part_with_impossible_values_is_left_out_and_named(
    changes: dict[str, Any], message: str, store: RunStore, append: Append
) -> None:
    append(make_record(0))
    append(make_record(1))
    values = {**{name: [value] for name, value in dataclasses.asdict(make_record(0)).items()}, **changes}
    table = pa.table(values).replace_schema_metadata(schema_of(Record).metadata)
    pq.write_table(table, Path(store.where) / _PART)
    assert [item.trial for item in store.records()] == [1]
    (problem,) = store.problems
    assert problem.startswith(f"{_PART}: ")
    assert message.split("|")[0] in problem or message.split("|")[-1] in problem


def test_part_whose_text_or_columns_cannot_be_is_left_out(store: RunStore, append: Append) -> None:
    for number in range(3):
        append(make_record(number))
    folder = Path(store.where) / "records"
    good = pq.read_table(folder / "trial-00000-r000.parquet")
    broken = good.set_column(good.schema.get_field_index("fusion"), "fusion", pa.array([b"\xff\xfe"]).view(pa.string()))
    pq.write_table(broken, folder / "trial-00000-r000.parquet")
    twice = good.append_column("depth", good["depth"]).set_column(
        good.schema.get_field_index("trial"), "trial", pa.array([1])
    )
    pq.write_table(twice, folder / "trial-00001-r000.parquet")
    assert [item.trial for item in store.records()] == [2]
    assert len(store.problems) == 2


def test_page_that_rotted_on_the_disk_is_noticed(store: RunStore, append: Append) -> None:
    append(make_record(0))
    path = Path(store.where) / _PART
    pages = pq.ParquetFile(io.BytesIO(path.read_bytes())).metadata.row_group(0).column(12)
    data = bytearray(path.read_bytes())
    data[pages.data_page_offset + pages.total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    assert store.records() == []
    assert "could not verify page integrity" in store.problems[0]


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from([it.name for it in dataclasses.fields(make_info())]), _json_values),
    rest=st.text(max_size=3),
)
def test_any_run_json_is_a_run_or_one_line(changes: dict[str, Any], rest: str) -> None:
    message = ""
    try:
        values = add_checksum({**json.loads(to_json(make_info())), **changes})
        info = from_json(json.dumps(values) + rest, where="run.json")
        # What was read is what it says: text is text.
        assert from_json(to_json(info), where="again") == info
    except ValueError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


@pytest.mark.parametrize("objectives", [["perplexity", "speed"], ["../x"], "perplexity", [1], None, []])
def test_run_json_with_unknown_objectives_is_refused(objectives: Any) -> None:
    text = json.dumps(add_checksum({**json.loads(to_json(make_info())), "objectives": objectives}))
    with pytest.raises(ValueError, match="not readable as a run"):
        from_json(text, where="run.json")
    assert RUN_ID in text
