"""Ray dies during a search: one line with the cause and how to continue, and no trial has failed."""

from __future__ import annotations

import os
import signal
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthweave.reports.store.run_store import RunStore
from tests.faults.wholeness import check_whole
from tests.search.processes import PATIENCE_S, processes, run_command, started, wait
from tests.search.ray_head import ray_head

pytestmark = [
    pytest.mark.release,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds Ray's processes in /proc"),
]


def _named(name: str, ray_folder: Path) -> list[int]:
    found = []
    for number in map(int, processes(ray_folder)):
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(f"/{name}".encode()):
            found.append(number)
    return found


@pytest.mark.parametrize("joined", [False, True], ids=["local", "joined"])
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_death_of_ray_is_one_line_and_fails_no_trial(
    name: str, joined: bool, small_spec: dict[str, Any], ray_folder: Path, tmp_path: Path
) -> None:
    spec_file, out = tmp_path / "spec.yaml", tmp_path / "run"
    recipe = {**small_spec["recipe"], "steps": 400, "num_evaluations": 40}
    spec = {**small_spec, "recipe": recipe, "search": {"trials": 3, "pruner": "none", "retries": 0}}
    spec_file.write_text(yaml.safe_dump(spec), encoding="utf-8")
    with _cluster(ray_folder) if joined else nullcontext() as address:
        joins = ["--address", address] if address else []
        with started([str(spec_file), "--out", str(out), *joins], ray_folder) as driver:
            wait(lambda: any(out.glob("checkpoints/*/state.pt")), driver)
            (victim,) = _named(name, ray_folder)
            os.kill(victim, signal.SIGKILL)
            printed, _ = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 2, printed
    last_line = printed.splitlines()[-1]
    if joined and name == "gcs_server":
        assert last_line.startswith(f"error: the Ray cluster at {address} has not answered for 45 s; what was finished")
    else:
        where = "on this machine has ended" if joined else "has ended (SIGKILL, as where memory runs out)"
        line = f"error: Ray's {name} {where}; every finished trial is kept:"
        assert last_line == f"{line} continue with `depthweave search --resume --out {out}`"
    assert "(raylet)" not in printed, "no log of Ray's"
    assert "gcs" not in printed.replace("gcs_server", ""), "nor of its core"
    assert "Traceback" not in printed
    assert all(item.state == "complete" for item in RunStore.open(out).records())
    last = run_command(["--resume", "--out", str(out)], ray_folder)
    assert last.returncode == 0, last.stdout + last.stderr
    assert {item.state for item in check_whole(out, num_trials=3)} == {"complete"}


def _cluster(ray_folder: Path) -> AbstractContextManager[str]:
    """A Ray that is not this search's own."""
    return ray_head(num_cpus=2, environment={**os.environ, "RAY_TMPDIR": str(ray_folder)})
