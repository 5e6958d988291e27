"""A run in a notebook: frames of whatever library is there, and the same numbers as everywhere."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from depthweave import reports
from depthweave.reports import notebook
from depthweave.reports.analysis.front import front
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import OBJECTIVES, make_info, make_record, make_trial

KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(not importlib.util.find_spec(kind), reason=f"{kind} is not installed"))
    for kind in ("pandas", "polars")
]


def _columns(table: Any) -> list[str]:
    return list(table.column_names if isinstance(table, pa.Table) else table.columns)


@pytest.mark.parametrize("kind", [*KINDS, "arrow"])
def test_frames_hold_what_the_store_holds(full_store: RunStore, kind: Any) -> None:
    run = reports.open(full_store.where, frames=kind)
    records, members = full_store.records(), front(full_store.records(), objectives=OBJECTIVES)
    for table, rows in ((run.records(), len(records)), (run.front(), len(members))):
        assert type(table).__module__.partition(".")[0] == {"arrow": "pyarrow"}.get(kind, kind)
        assert len(table) == rows
    assert _columns(run.records()) == list(Record.__dataclass_fields__)
    assert [float(it) for it in list(run.front()["perplexity"].to_numpy())] == [it.perplexity for it in members]
    assert len(run.evaluations([3])) == 8
    assert len(run.weights([1])) > len(run.weights([]))


@pytest.mark.skipif(not importlib.util.find_spec("pandas"), reason="pandas is not installed")
def test_pandas_keeps_integers_with_gaps_as_integers(full_store: RunStore) -> None:
    records = reports.open(full_store.where).records()
    assert str(records["period"].dtype) == "Int64"
    assert set(records["period"].dropna()) == {1, 4, 5, 8, 12}
    assert records.groupby("fusion")["perplexity"].min().notna().all()


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [({"pandas", "polars"}, "pandas"), ({"polars"}, "polars"), (set(), "arrow")],
)
def test_library_is_pandas_else_polars_else_arrow(
    full_store: RunStore, installed: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "find_spec", lambda name: types.SimpleNamespace() if name in installed else None)
    assert reports.open(full_store.where).frames == chosen


def test_library_that_is_absent_or_unknown_is_refused(full_store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="frames='polars' is not installed: pip install polars"):
        reports.open(full_store.where, frames="polars")
    with pytest.raises(ValueError, match="one of pandas, polars, arrow"):
        reports.open(full_store.where, frames="dask")  # type: ignore[arg-type]


def test_what_a_notebook_shows_says_the_answer_and_escapes_names(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(name="<b>run</b>"), spec_yaml="")
    trial = make_trial(make_record(0, reference=True, fusion="<i>dwa</i>"))
    store.append(trial.record, evaluations=trial.evaluations, weights=[])
    run = reports.open(store.where)
    text = run._repr_html_()
    assert "&lt;b&gt;run&lt;/b&gt;" in text
    assert "&lt;i&gt;dwa&lt;/i&gt;" in text
    assert "<i>" not in text
    assert run.answer()[0] in text.replace("&lt;", "<").replace("&gt;", ">")


def test_part_that_cannot_be_read_is_warned_of_once(store: RunStore, append: Callable[[Record], None]) -> None:
    append(make_record(0))
    append(make_record(1))
    next(Path(store.where).glob("records/trial-00001-*.parquet")).write_bytes(b"not Parquet")
    run = reports.open(store.where, frames="arrow")
    with pytest.warns(UserWarning, match=r"records/trial-00001-r000\.parquet: cannot be read .*; left out$"):
        assert len(run.records()) == 1
    assert len(run.answer()) > 0


def test_run_is_read_again_at_each_call(store: RunStore, append: Callable[[Record], None]) -> None:
    run = reports.open(store.where, frames="arrow")
    assert (len(run.records()), len(run.front()), run.figures()) == (0, 0, {})
    append(make_record(0))
    assert (len(run.records()), len(run.front())) == (1, 1)
    assert "front-latency" in run.figures()
