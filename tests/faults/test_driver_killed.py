"""The driver is killed ten times, at random moments, and resumed: the run is that of an undisturbed search."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from tests.faults.wholeness import Keepsake, check_readable, check_whole
from tests.search.processes import PATIENCE_S, processes, run_command, started
from tests.search.search_runs import prepared_search, search

pytestmark = [
    pytest.mark.release,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds Ray's processes in /proc"),
]

_NUM_TRIALS = 16
_NUM_KILLS = 10
_LOCAL_KILLS = 1
"""Of the kills, those of a driver that has a Ray of its own; the others join one that runs, which is quicker."""


def test_ten_kills_change_nothing_of_the_search(
    small_spec: dict[str, Any], ray_address: str, ray_folder: Path, tmp_path: Path
) -> None:
    # One worker and costs that repeat: every decision must be that of the undisturbed search.
    spec = {
        **small_spec,
        "space": {**small_spec["space"], "depths": [2, 4, 6, 8]},
        "objectives": ["perplexity", "memory_bytes"],
        "search": {"trials": _NUM_TRIALS, "pruner": "pareto"},
        "resources": {**small_spec["resources"], "max_concurrent": 1},
    }
    undisturbed = search(prepared_search(spec), out=tmp_path / "undisturbed", address=ray_address)
    spec_file, out = tmp_path / "spec.yaml", tmp_path / "run"
    spec_file.write_text(yaml.safe_dump(spec), encoding="utf-8")

    moments, keepsakes = random.Random(5), []
    for number in range(_NUM_KILLS):
        begin = [str(spec_file)] if number == 0 else ["--resume"]
        address = [] if number < _LOCAL_KILLS else ["--address", ray_address]
        with started([*begin, "--out", str(out), *address], ray_folder) as driver:
            # A trial is some sixteen lines: the kills fall between any two of them, or into one.
            _wait_for_lines(out / "study.journal", moments.randint(1, 24), driver=driver)
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
        check_readable(out)
        for item in keepsakes:
            item.check_untouched(out)
        keepsakes.append(Keepsake(out))
    assert 0 < len(keepsakes[-1].records) < _NUM_TRIALS, "the kills were spread over the search"

    last = run_command(["--resume", "--out", str(out), "--address", ray_address], ray_folder)
    assert last.returncode == 0, last.stdout + last.stderr
    records = check_whole(out, num_trials=_NUM_TRIALS)
    for item in keepsakes:
        item.check_untouched(out)
    assert [_decided(item) for item in records] == [_decided(item) for item in undisturbed.records]
    assert _curves(RunStore.open(out)) == _curves(undisturbed.store)
    # A Ray whose driver was killed goes by itself.
    deadline = time.monotonic() + PATIENCE_S
    while processes(ray_folder):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _wait_for_lines(journal: Path, num_lines: int, *, driver: subprocess.Popen[str]) -> None:
    """Waits until the driver has written so many more lines, or has nearly written the last one."""
    before = journal.read_bytes().count(b"\n") if journal.exists() else 0
    deadline = time.monotonic() + PATIENCE_S
    while not journal.exists() or journal.read_bytes().count(b"\n") < before + num_lines:
        assert driver.poll() is None, f"the search ended: {driver.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _decided(record: Record) -> tuple[object, ...]:
    return record.trial, record.architecture_id, record.state, record.reason, record.audit, record.last_loss


def _curves(store: RunStore) -> dict[tuple[int, int], float]:
    return {(row["trial"], row["index"]): row["loss"] for row in store.evaluations().to_pylist()}
