"""`depthweave compare`: a page and a table, or JSON alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reports.comparing import make_run, make_store
from tests.search.commandline import Cli


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name, loss in (("small", 1.5), ("large", 1.3)):
        make_store(folder / name, make_run(run_id=name, loss=loss))
    return [folder / "small", folder / "large"]


def test_compare_prints_a_table_that_fits_and_writes_the_page(runs: list[Path], run: Cli, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "both.html"
    code, printed, err = run("compare", *runs, "--out", out)
    assert (code, err) == (0, "")
    assert "agree" in printed
    *lines, last = printed.splitlines()
    assert last == f"page: {out}"
    assert max(map(len, lines)) <= 80
    assert "small and large" in out.read_text(encoding="utf-8")


def test_compare_as_json_writes_no_page(
    runs: list[Path], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = json.loads(run("compare", *runs, "--json").out)
    assert [item["label"] for item in values["runs"]] == ["small", "large"]
    assert values["pairs"][0]["fronts"]["objectives"] == ["perplexity", "latency", "memory_bytes"]
    assert not list(tmp_path.glob("*.html"))


def test_faults_are_one_line(runs: list[Path], fault: Callable[..., str], tmp_path: Path) -> None:
    assert "name at least two" in fault("compare", runs[0])
    assert "is given twice" in fault("compare", runs[0], runs[1], runs[0])
    assert "holds no run" in fault("compare", runs[0], tmp_path / "nothing")
