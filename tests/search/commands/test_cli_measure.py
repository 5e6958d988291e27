"""`depthweave measure`: any configurations beside the first one, as a table and as JSON; faults in one line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from depthweave.search.commands import measure
from depthweave.spaces import Architecture, locks, strided_wiring, write_architecture
from depthweave.trainers import Recipe, peak_memory, pick_device
from depthweave.trainers.device_lock import DeviceLock
from tests.search.commandline import Cli

_SMALL = ("--depth", 4, "--width", 16, "--heads", 2, "--context", 16, "--batch", 2, "--time-limit", 0.1)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(8), width=16, heads=2, feed_forward=64, vocabulary=256, context=16
    )
    write_architecture(folder / "architecture.yaml", architecture)
    return folder


def test_table_has_the_reference_first_and_every_configuration(
    run: Cli, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run("measure", "none", "dwa:1x1", "concat:2xdepth", exported, *_SMALL)
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["none", "dwa:1x1", "concat:2xdepth", str(exported)]
    assert lines[1].count("1.000 [1.00, 1.00]") == 3
    assert "Times relative to none (" in lines[5]
    assert "batch 2, context 16" in lines[5]


def test_a_fusion_of_one_graph_needs_no_wiring(run: Cli) -> None:
    code, out, _ = run("measure", "none", "hc2", *_SMALL)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["none", "hc2"]


def test_json_has_all_figures_and_the_circumstances(run: Cli, exported: Path) -> None:
    code, out, _ = run("measure", exported / "architecture.yaml", "none", *_SMALL, "--json")
    assert code == 0
    message = json.loads(out)
    assert (message["batch"], message["context"], message["threads"], message["device"]) == (2, 16, 1, "cpu")
    deep, plain = message["configurations"]
    assert (deep["latency"], deep["step_latency"], deep["decode_latency"]) == (1.0, 1.0, 1.0)
    for name in ("latency", "step_latency", "decode_latency"):
        assert plain[f"{name}_low"] <= plain[name] <= plain[f"{name}_high"]
        assert plain[name] < 1.0, "half as deep"
        assert plain[f"{name}_s"] > 0
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(8), width=16, heads=2, feed_forward=64, vocabulary=256, context=16
    )
    counted = peak_memory(architecture, recipe=Recipe(batch=2, context=16), device=pick_device("cpu"))
    assert (deep["memory_bytes"], deep["forward_memory_bytes"]) == counted


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["dwa"], "dwa: give an export, its architecture.yaml, none, or FUSION:WIRING such as dwa:4x5 or dwa:first:2"),
        (["none:1x1"], "none:1x1: give an export, its architecture.yaml"),
        (["dwaa:1x1"], "fusion 'dwaa' is not known: did you mean 'dwa'?"),
        (["missing.yaml"], "missing.yaml: no such file"),
        (["dwa:0x1"], "dilation is 0"),
        (["none", "--precision", "half"], "precision"),
        (["none", "--device", "tpu"], "device is 'tpu'"),
        (["none", "--heads", "3"], "heads"),
    ],
)
def test_fault_is_one_line(fault: Callable[..., str], arguments: list[str], expected: str) -> None:
    assert expected in fault("measure", *arguments)


def test_contexts_must_agree(fault: Callable[..., str], exported: Path) -> None:
    assert "contexts are 16, 32" in fault("measure", exported, "none", "--context", 32)


def test_measurement_that_waits_says_for_whom_and_gives_up(
    fault: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(locks, "WARN_AFTER_S", 0.01)
    monkeypatch.setattr(measure, "_LOCK_LIMIT_S", 0.2)
    folder = tmp_path / f"depthweave-{os.getuid()}" / "locks"
    with DeviceLock(folder, device=pick_device("cpu")).exclusive():
        message = fault("measure", "none", *_SMALL, "--device", "cpu")
    (lock,) = folder.glob("measure-*.lock")
    assert message.startswith(f"{lock}: locked for 0 s by ")
    assert message.endswith(": wait for it or end it, and try again")
    assert [line.split(", ")[0] for line in caplog.messages] == [f"waiting for {lock}"]
    assert (folder.parent.stat().st_mode & 0o777, lock.stat().st_mode & 0o777) == (0o700, 0o600)
