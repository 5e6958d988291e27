"""Exports in Trainer, accelerate and PEFT: the same numbers however they are trained, and wherever the weights are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from depthweave.reports.export import export
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces import load
from tests.reports.export import fine_tuning
from tests.reports.export.conftest import record_of

_missing = [name for name in ("transformers", "accelerate", "peft") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_missing), reason=f"{', '.join(_missing)} not installed: pip install depthweave[dev]"),
]


def test_export_is_fine_tuned_offloaded_and_adapted(trained: RunStore, tmp_path: Path) -> None:
    folder = export(trained, record_of(), out=tmp_path / "out")
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, fine_tuning.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    whole, *others = results["steps"]
    for found in others:
        assert found == pytest.approx(whole, rel=1e-4)
    assert results["smoothed"][0] == pytest.approx(results["smoothed"][1], rel=1e-4)
    assert results["offloaded"] == [True] * 5
    assert "which is also the head" in results["adapted"]
    assert load(folder / "merged").architecture == load(folder).architecture
    # The card's own lines.
    assert load(f"{folder}-tuned").architecture == load(folder).architecture
