"""SIGTERM and two Ctrl-C: what they leave behind, and how the search continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from depthweave.reports.store.run_store import RunStore
from depthweave.search.study.studies import OBJECTIVES_STUDY
from tests.faults.wholeness import Keepsake, check_readable, check_whole
from tests.search.processes import PATIENCE_S, kept_records, processes, run_command, started, study_states, wait

pytestmark = [
    pytest.mark.release,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds Ray's processes in /proc"),
]

_LIMIT_S = 10.0
"""Between SIGTERM and the end, on a machine that starts a search in that time; a busy one is given as long as that."""
_NUM_EVALUATIONS = 40


def test_sigterm_and_two_control_c_lose_nothing(small_spec: dict[str, Any], ray_folder: Path, tmp_path: Path) -> None:
    spec_file, out = tmp_path / "spec.yaml", tmp_path / "run"
    recipe = {**small_spec["recipe"], "steps": 400, "num_evaluations": _NUM_EVALUATIONS}
    spec = {**small_spec, "recipe": recipe, "search": {"trials": 4, "pruner": "none", "retries": 0}}
    spec_file.write_text(yaml.safe_dump(spec), encoding="utf-8")

    begun = time.monotonic()
    with started([str(spec_file), "--out", str(out)], ray_folder) as driver:
        wait(lambda: bool(_in_flight(out)), driver)
        start_s = time.monotonic() - begun
        terminated = _in_flight(out)
        # A batch system sends it to all that belongs to the job, Ray's processes included.
        os.killpg(driver.pid, signal.SIGTERM)
        sent = time.monotonic()
        driver.wait(timeout=PATIENCE_S)
        taken_s = time.monotonic() - sent
        printed = driver.communicate()[0]
    assert driver.returncode == 143, printed
    assert taken_s < max(_LIMIT_S, start_s)
    assert f"terminated; continue with `depthweave search --resume --out {out}`" in printed
    assert "Traceback" not in printed
    keepsakes = [_check_saved(out)]

    with started(["--resume", "--out", str(out)], ray_folder) as driver:
        num_kept = len(kept_records(out))
        wait(lambda: len(kept_records(out)) > num_kept and bool(_in_flight(out)), driver)
        os.killpg(driver.pid, signal.SIGINT)
        _wait_until_it_saved(out, driver)
        os.killpg(driver.pid, signal.SIGINT)
        printed, _ = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 130, printed
    assert "Traceback" not in printed
    keepsakes.append(_check_saved(out))
    deadline = time.monotonic() + PATIENCE_S
    while processes(ray_folder):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    last = run_command(["--resume", "--out", str(out)], ray_folder)
    assert last.returncode == 0, last.stdout + last.stderr
    records = check_whole(out, num_trials=4)
    for item in keepsakes:
        item.check_untouched(out)
    assert {item.state for item in records} == {"complete"}, "who is taken down with the driver has not crashed"
    assert {item.trial for item in records if item.attempts > 1} >= terminated, "they went on from their checkpoints"


def _check_saved(out: Path) -> Keepsake:
    check_readable(out)
    assert set(study_states(RunStore.open(out))) <= {TrialState.COMPLETE, TrialState.WAITING}
    return Keepsake(out)


def _in_flight(out: Path) -> set[int]:
    """Numbers of the trials with a checkpoint somewhere in the midst of their training."""
    found = set()
    for path in out.glob("checkpoints/trial-*/progress.json"):
        num_evaluations = len(json.loads(path.read_text())["evaluations"])
        if 2 <= num_evaluations < _NUM_EVALUATIONS - 10 and (path.parent / "state.pt").exists():
            found.add(int(path.parent.name.split("-")[1]))
    return found


def _wait_until_it_saved(out: Path, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while driver.poll() is None and _is_running(out):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_running(out: Path) -> bool:
    storage = JournalStorage(JournalFileBackend(str(out / "study.journal")))
    trials = optuna.load_study(study_name=OBJECTIVES_STUDY, storage=storage).trials
    return any(item.state == TrialState.RUNNING for item in trials)
