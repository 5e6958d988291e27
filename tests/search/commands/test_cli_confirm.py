"""`depthweave confirm` asked for what it cannot do: one line, before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from depthweave.reports.store.run_store import RunStore
from depthweave.search.confirmation import PLAN_FILE, read_plan
from depthweave.search.preparation import PreparedSearch, create_run
from tests.reports.synthetic import make_record
from tests.search.commandline import Cli
from tests.search.search_runs import prepared_search


@pytest.fixture
def prepared(small_spec: dict[str, Any]) -> PreparedSearch:
    return prepared_search(small_spec)


@pytest.fixture
def run_folder(prepared: PreparedSearch, tmp_path: Path) -> Path:
    """A run of one complete trial."""
    folder = tmp_path / "run"
    store = create_run(prepared, out=folder)
    record = make_record(0, run_id=store.info.run_id, architecture_id=prepared.reference.architecture.id)
    store.append(record, evaluations=[], weights=[])
    return folder


def test_confirm_without_a_front_says_how_to_get_one(
    prepared: PreparedSearch, fault: Callable[..., str], tmp_path: Path
) -> None:
    create_run(prepared, out=tmp_path / "run")
    line = fault("confirm", tmp_path / "run", "--seeds", "3")
    assert "has no front to confirm" in line
    assert f"depthweave search --resume --out {tmp_path / 'run'}" in line


def test_confirm_names_the_records_that_it_cannot_read(run_folder: Path, run: Cli) -> None:
    (path,) = (run_folder / "records").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    answer = run("confirm", run_folder, "--seeds", 3)
    assert answer.code == 2
    first, second = answer.err.splitlines()
    assert first.startswith(f"records/{path.name}: ")
    assert "has no front to confirm" in second


def test_confirm_where_there_is_no_run(fault: Callable[..., str], tmp_path: Path) -> None:
    assert "holds no run" in fault("confirm", tmp_path / "nothing")
    assert "not an address that pyarrow opens" in fault("confirm", "ftp://host/run")


@pytest.mark.parametrize("seeds", ["1", "0", "-3"])
def test_confirm_with_too_few_seeds(seeds: str, run_folder: Path, fault: Callable[..., str]) -> None:
    assert fault("confirm", run_folder, f"--seeds={seeds}").startswith(f"--seeds {seeds}: give at least 2")


def test_confirm_while_the_run_is_searched(run_folder: Path, fault: Callable[..., str]) -> None:
    with FileLock(run_folder / "search.lock"):
        assert "is working on this run; wait for it or stop it" in fault("confirm", run_folder)


def test_confirm_with_a_changed_corpus(run_folder: Path, corpus_folder: Path, fault: Callable[..., str]) -> None:
    changed = corpus_folder / "0.txt"
    text = changed.read_text(encoding="utf-8")
    changed.write_text(text + " and more", encoding="utf-8")
    try:
        line = fault("confirm", run_folder)
    finally:
        changed.write_text(text, encoding="utf-8")
    assert "give the same text, or start a new run" in line


def test_confirm_with_a_damaged_plan(run_folder: Path) -> None:
    store = RunStore.open(run_folder)
    assert read_plan(store) == []
    store.write_bytes(PLAN_FILE, b"[{")
    with pytest.raises(ValueError, match=f"{PLAN_FILE}: cannot be read"):
        read_plan(store)


@pytest.mark.parametrize(("value", "message"), [("1", "greater than or equal to 2"), ("true", "not a whole number")])
def test_search_confirm_in_a_spec_is_a_number_of_seeds(
    value: str, message: str, spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    line = fault("search", spec_file, "--out", tmp_path / "run", "--set", f"search.confirm={value}")
    assert "search.confirm" in line
    assert message in line
