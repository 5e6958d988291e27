"""Rows with values that cannot be: left out and named, whatever the column; all others are read and shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depthweave.reports.page.page import page_of, render
from depthweave.reports.store.arrow_rows import schema_of, to_table
from depthweave.reports.store.parquet_file import nullable
from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_info import from_json, to_json
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.score_rows import LIST_ROWS, list_type
from depthweave.reports.terminal.table import front_table
from tests.reports.synthetic import OBJECTIVES, make_info, make_record, make_trial

Append = Callable[[Record], None]
_DEEP = "[" * 100_000
_LATE = 290_000 * 31_556_952 * 10**6
"""Microseconds to a year that no calendar has."""
_HOSTILE: dict[pa.DataType, list[Any]] = {
    pa.int64(): [-1, 0, 2**63 - 1, -(2**63), None],
    pa.float64(): [-1.0, 0.0, math.nan, math.inf, -math.inf, 1e308, None],
    pa.string(): ["", "\x1b[2J", _DEEP, "[1e999]", "[NaN]", "{}", "[[1,[9]]]", '[["1",[1]]]', "7", "x" * 2**21, None],
    pa.bool_(): [None],
    pa.timestamp("us", tz="UTC"): [_LATE, -_LATE, 0, None],
    # Values of their rows are tested beside the lists.
    **{list_type(name): [[], None] for name in LIST_ROWS},
}


def _write(store: RunStore, table: pa.Table, *, folder: str = "records", name: str = "batch-00001.parquet") -> None:
    path = Path(store.where) / folder / name
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)


def _spoilt(rows: Sequence[Any], *, row_class: type[Any], changes: Sequence[tuple[int, str, Any]]) -> pa.Table:
    """The rows as a table, with values in place that the row class itself would not take."""
    table = to_table(rows, row_class=row_class).cast(nullable(schema_of(row_class)))
    for place, column, value in changes:
        item = table.schema.field(column)
        values = table[column].cast(pa.int64()) if pa.types.is_timestamp(item.type) else table[column]
        changed = [*values.to_pylist()[:place], value, *values.to_pylist()[place + 1 :]]
        array = pa.array(changed, values.type).cast(item.type)
        table = table.set_column(table.schema.get_field_index(column), item, array)
    return table


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("latency", -1.0, "trial 1: latency is -1.0, it must be at least 0"),
        ("latency", math.nan, "trial 1: latency is nan, it must be a number"),
        ("perplexity", 0.5, "trial 1: perplexity is 0.5, it must be at least 1"),
        ("threads", 0, "trial 1: threads is 0, it must be at least 1"),
        ("depth", 2**40, "trial 1: depth is 1099511627776, it must be at most 100000"),
        (
            "finished_at",
            _LATE,
            "trial 1: finished_at is 9151516080000000000 microseconds, it must be from",
        ),
        ("fusion", None, "column 'fusion' is empty in 1 rows"),
        ("trial", None, "column 'trial' is empty in 1 rows"),
        (
            "recipe",
            '{"learning_rate": 1e999}',
            "trial 1: recipe is '{\"learning_rate\": 1e999}'",
        ),
        ("wiring", _DEEP, "trial 1: wiring is '[[[[["),
        ("state", "won", "trial 1: state is 'won', it must be one of complete, pruned, diverged, failed"),
        ("trial", 2, "trial 2: trial is 2, it must be no other row's, and 1 further rows"),
    ],
)
def test_row_out_of_bounds_is_left_out_and_named_with_its_file(
    column: str, value: Any, message: str, store: RunStore
) -> None:
    rows = [make_record(trial) for trial in range(4)]
    _write(store, _spoilt(rows, row_class=Record, changes=[(1, column, value)]))
    left = [0, 3] if (column, value) == ("trial", 2) else [0, 2, 3]
    assert [item.trial for item in store.records()] == left
    (problem,) = store.problems
    assert problem.startswith(f"records/batch-00001.parquet: {message}")
    assert problem.endswith("; left out")
    assert len(problem) < 200


def test_page_and_table_are_made_of_every_row_that_holds_possible_values(store: RunStore) -> None:
    rows, changes = [make_record(0, reference=True)], []
    for item in schema_of(Record):
        for value in _HOSTILE[item.type]:
            if item.name not in ("run_id", "trial"):
                changes.append((len(rows), item.name, value))
                rows.append(make_record(len(rows), architecture_id=f"{len(rows):012x}", latency=1 + 1 / len(rows)))
    _write(store, _spoilt(rows, row_class=Record, changes=changes))
    trials = [make_trial(row) for row in rows[:40]]
    for folder, row_class in (("evaluations", EvaluationRow), ("weights", WeightRow)):
        spoilt = [row for trial in trials for row in getattr(trial, folder)]
        columns = [item for item in schema_of(row_class) if item.name not in ("run_id", "trial", "index")]
        faults = [(column, value) for column in columns for value in _HOSTILE[column.type]]
        changes = [(4 * place, column.name, value) for place, (column, value) in enumerate(faults)]
        _write(store, _spoilt(spoilt, row_class=row_class, changes=changes), folder=folder)
    found = store.records()
    assert 50 < len(found) < len(rows) - 100
    assert found[0] == rows[0]
    front_table(found, objectives=OBJECTIVES)
    page = render(page_of(store))
    assert "records/batch-00001.parquet" in page
    assert len([line for line in store.problems if line.endswith("; left out")]) == 3


def test_weight_that_is_infinite_is_left_out_and_the_loss_of_a_diverged_training_is_not(
    store: RunStore, append: Append
) -> None:
    append(make_record(0))
    append(make_record(1, state="diverged", perplexity=None, last_loss=math.inf))
    trial = make_trial(make_record(0))
    table = _spoilt(trial.weights, row_class=WeightRow, changes=[(3, "value", math.inf)])
    _write(store, table, folder="weights", name="trial-00000-r000.parquet")
    assert store.weights([0]).num_rows == len(trial.weights) - 1
    assert store.problems == ["weights/trial-00000-r000.parquet: trial 0: value is inf, it must be finite; left out"]
    assert [item.last_loss for item in store.records()][1] == math.inf


def test_rows_left_out_are_kept_aside_where_parts_are_merged(store: RunStore, append: Append) -> None:
    rows = [make_record(trial) for trial in range(3)]
    _write(store, _spoilt(rows, row_class=Record, changes=[(1, "latency", -1.0)]))
    spoilt = (Path(store.where) / "records" / "batch-00001.parquet").read_bytes()
    for _ in range(2):
        store.merge()
        assert [item.trial for item in store.records()] == [0, 2]
    names = sorted(path.name for path in (Path(store.where) / "records").glob("[!.]*"))
    assert names == ["batch-00001.parquet.corrupt", "batch-00002.parquet"]
    assert (Path(store.where) / "records" / names[0]).read_bytes() == spoilt


def test_earlier_revision_counts_where_the_later_one_is_out_of_bounds(store: RunStore, append: Append) -> None:
    append(make_record(0))
    table = _spoilt([make_record(0, latency=2.0)], row_class=Record, changes=[(0, "latency", -1.0)])
    _write(store, table, name="trial-00000-r001.parquet")
    assert store.records() == [make_record(0)]
    assert len(store.problems) == 1


def test_bounds_stand_in_the_schema_beside_unit_and_meaning() -> None:
    metadata = schema_of(Record).field("depth").metadata
    assert (metadata[b"least"], metadata[b"most"]) == (b"1", b"100000")
    undeclared = {
        item.name
        for row_class in (Record, EvaluationRow, WeightRow)
        for item in dataclasses.fields(row_class)
        if schema_of(row_class).field(item.name).type == pa.int64() and item.metadata["bounds"].least is None
    }
    assert undeclared == set()


@pytest.mark.parametrize(
    "text",
    [
        _DEEP,
        '{"format": 1e999}',
        '{"format": 1, "created_at": 1e999}',
        '{"format": null}',
        "1",
        '{"format": 1, "run_id": "' + "x" * 100 + '", "combinations": -1}',
        to_json(make_info()).replace("48", "-48"),
        to_json(make_info()).replace("32", "1e999"),
        to_json(make_info(tolerances=(0.1, 0.1, 0.1))).replace("0.1", "1" + "0" * 400),
    ],
)
def test_run_with_impossible_values_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^x/run\.json: not readable as a run \(.*\): restore it") as caught:
        from_json(text, where="x/run.json")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
