"""`depthweave search` where it cannot start: one line and exit code 2, before a folder is made or a cluster asked."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depthweave.search.cluster import ray_joining
from depthweave.search.preparation import create_run, prepare
from depthweave.search.spec.loading import load_spec
from tests.search.commandline import Cli
from tests.search.ledger_runs import as_earlier_version


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "none.txt does not exist"),
        ("empty.txt", b"", "every file is empty"),
        ("binary.txt", b"\xff\x00\x81", "is not UTF-8 text"),
        ("zero.txt", b"a\0b", "is not text"),
        ("small.txt", b"one\ntwo\nthree", "training tokens; one batch of 4 x 32 needs 129"),
    ],
)
def test_bad_corpus_is_one_line_before_anything_is_made(
    name: str, content: bytes | None, message: str, spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    sets = ("--set", f"corpus.paths=[{tmp_path / name}]", "--set", r'corpus.separator="\n"')
    assert message in fault("search", spec_file, "--out", tmp_path / "run", *sets)
    assert not (tmp_path / "run").exists()


def test_folder_that_holds_a_run_is_refused_and_resume_named(
    spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    _begin(spec_file, tmp_path / "run")
    (tmp_path / "run" / "study.journal").touch()
    assert "already holds a run: continue it with --resume" in fault("search", spec_file, "--out", tmp_path / "run")


def test_resume_without_a_run_is_one_line(fault: Callable[..., str], tmp_path: Path) -> None:
    assert "holds no run" in fault("search", "--resume", "--out", tmp_path)
    assert "no run given; give its folder with --out" in fault("search", "--resume")
    assert "no spec given" in fault("search")


def test_resume_with_another_spec_says_where_it_differs(
    spec_file: Path, run: Cli, fault: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    _begin(spec_file, folder)
    line = fault("search", spec_file, "--resume", "--out", folder, "--set", "recipe.batch=8", "--seed", 3)
    assert "recipe.batch is 8, was 4 (and 1 more)" in line
    assert "recipe.steps is 7, was 6" in fault("search", "--resume", "--out", folder, "--set", "recipe.steps=7")


def test_resume_with_damaged_spec_names_the_file(spec_file: Path, fault: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _begin(spec_file, folder)
    (folder / "spec.yaml").write_text("space: [", encoding="utf-8")
    assert f"{folder}/spec.yaml: cannot be read as YAML" in fault("search", "--resume", "--out", folder)


def test_resume_of_a_run_whose_spec_spans_other_architectures_now_is_refused(
    spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    _begin(spec_file, folder)
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text(encoding="utf-8").replace("dilations: [1, 2]", "dilations: [1]"), encoding="utf-8")
    line = fault("search", "--resume", "--out", folder)
    assert f"{folder}/spec.yaml was changed since the run began: space.dilations is [1], was [1, 2]" in line
    as_earlier_version(folder)
    line = fault("search", "--resume", "--out", folder)
    assert f"{folder}: its spec spans 10 architectures" in line
    assert "or start a new run" in line


def _begin(spec_file: Path, folder: Path) -> None:
    """The run's folder as it is before the first trial."""
    create_run(prepare(load_spec(spec_file)), out=folder)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--time-budget", "soon", "--time-budget soon: give seconds"),
        ("--time-budget", "0", "search.time_budget_s"),
        ("--time-budget", "-5m", "search.time_budget_s"),
        ("--trials", "0", "search.trials"),
        ("--seed", "-1", "seed"),
        ("--set", "recipe", "write KEY=VALUE"),
        ("--out", "ftp://host/run", "not an address that pyarrow opens"),
        ("--address", "somewhere", "give HOST:PORT"),
    ],
)
def test_bad_option_of_search_is_one_line(
    flag: str, value: str, message: str, spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    place = [] if flag == "--out" else ["--out", tmp_path / "run"]
    assert message in fault("search", spec_file, *place, flag, value)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_address_without_a_listener_is_one_line_at_once(
    spec_file: Path, mute_port: int, fault: Callable[..., str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    started = time.monotonic()
    line = fault("search", spec_file, "--out", tmp_path / "run", "--address", f"127.0.0.1:{closed}")
    assert "no Ray cluster answers" in line
    assert time.monotonic() - started < 30
    assert not (tmp_path / "run").exists()


def test_address_that_is_no_ray_cluster_is_one_line(
    mute_port: int, spec_file: Path, fault: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_joining._CONNECT_LIMIT_S < 30
    monkeypatch.setattr(ray_joining, "_CONNECT_LIMIT_S", 0.2)
    line = fault("search", spec_file, "--out", tmp_path / "run", "--address", f"127.0.0.1:{mute_port}")
    assert "no Ray cluster answers" in line
    assert not (tmp_path / "run").exists()
