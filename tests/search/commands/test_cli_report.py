"""`depthweave report`: options that exclude each other are refused before anything is read or drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.search.ledger_runs import Run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--watch", "--svg", "out"], "report: --watch and --svg exclude each other: give one"),
        (["--port", "8000"], "report: --port is of --watch: give both or none"),
        (["--watch", "--port", "70000"], "--port"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    arguments: list[str], message: str, fault: Callable[..., str], tmp_path: Path
) -> None:
    assert message in fault("report", tmp_path, *arguments)


def test_figures_without_kaleido_are_one_line(
    fault: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Run(tmp_path / "small")
    monkeypatch.setitem(sys.modules, "kaleido", None)
    line = fault("report", made.store.where, "--svg", tmp_path / "figures")
    assert line == "report --svg: needs kaleido, which is not installed: pip install 'depthweave[png]'"
    assert not (tmp_path / "figures").exists()


def test_figures_of_a_run_without_records_are_one_line(
    fault: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Run(tmp_path / "small")
    monkeypatch.setattr("depthweave.search.commands.report.check_can_write_images", lambda **_: None)
    assert "no trial has ended yet" in fault("report", made.store.where, "--png", tmp_path / "figures")
