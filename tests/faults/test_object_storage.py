"""A search into object storage: killed, contended for, cut off from its storage, and whole at the end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import Storage
from depthweave.search.commands.export import export_selected
from depthweave.search.run_folder.run_lock import LEASE
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.spaces import load
from tests.buckets import Gate, copied, needs_server
from tests.faults.wholeness import Keepsake, check_whole
from tests.search.commandline import Cli
from tests.search.processes import PATIENCE_S, kill_all, run_command, started, wait

pytestmark = [
    pytest.mark.release,
    pytest.mark.timeout(1200),
    needs_server,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds Ray's processes in /proc"),
]

_NUM_TRIALS = 12
_AWAY_S = 60.0


def test_search_in_a_bucket_is_killed_cut_off_and_whole(
    small_spec: dict[str, Any], bucket: str, gate: Gate, ray_folder: Path, tmp_path: Path, run: Cli
) -> None:
    recipe = {**small_spec["recipe"], "steps": 60, "num_evaluations": 20}
    resources = {**small_spec["resources"], "max_concurrent": 1}
    spec = {**small_spec, "recipe": recipe, "search": {"trials": _NUM_TRIALS, "pruner": "none"}, "resources": resources}
    spec_file, out = tmp_path / "spec.yaml", f"{bucket}/run"
    spec_file.write_text(yaml.safe_dump(spec), encoding="utf-8")

    with started([str(spec_file), "--out", out], ray_folder) as driver:
        wait(lambda: _num_records(out) >= 2 and _has_state(out), driver)
        second = run_command(["--resume", "--out", out], ray_folder)
        assert second.returncode == 2
        assert "another search on" in second.stderr
        assert "wait for it or stop it" in second.stderr
        wait(lambda: _has_state(out), driver)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    kill_all(ray_folder)
    keepsake = Keepsake(copied(out, tmp_path / "killed"))
    num_kept = len(keepsake.records)
    in_flight = set(Checkpoints(f"{out}/checkpoints").numbers()) - set(keepsake.records)
    assert len(in_flight) <= 1

    with started(["--resume", "--out", out], ray_folder) as driver:
        wait(lambda: _num_records(out) > num_kept, driver)
        with gate.shut():
            time.sleep(_AWAY_S)
            assert driver.poll() is None
        printed, _ = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 0, printed
    assert "does not answer: trying again" in printed
    assert "Traceback" not in printed
    assert f"report: {out}/report.html" in printed

    final = copied(out, tmp_path / "final")
    records = check_whole(final, num_trials=_NUM_TRIALS)
    keepsake.check_untouched(final)
    assert {item.state for item in records} == {"complete"}
    assert all(records[number].attempts > 1 for number in in_flight), "it went on from its checkpoint"
    assert not list(final.glob("journal/*")), "the journal is in one piece"
    assert not (final / LEASE).exists()

    # From the address alone.
    assert len(json.loads(run("show", out, "--json").out)) >= 1
    assert run("report", out).code == 0
    export_selected(out, out=tmp_path / "exported", select="best", where=None, formats=())
    assert load(tmp_path / "exported").architecture.id in {item.architecture_id for item in records}
    assert "already holds a run" in run("search", spec_file, "--out", out).err


def test_run_of_a_holder_that_died_elsewhere_is_taken_over(
    small_spec: dict[str, Any], bucket: str, ray_folder: Path, tmp_path: Path
) -> None:
    spec_file, out = tmp_path / "spec.yaml", f"{bucket}/taken"
    spec_file.write_text(yaml.safe_dump({**small_spec, "search": {"trials": 3}}), encoding="utf-8")
    lease = {"id": "somebody", "host": "another machine", "pid": 1, "renewals": 3}
    Storage(out).write(LEASE, json.dumps(lease).encode())
    begun = time.monotonic()
    answer = run_command([str(spec_file), "--out", out], ray_folder)
    assert answer.returncode == 0, answer.stderr
    assert "a search on another machine holds the run: waiting" in answer.stdout
    assert time.monotonic() - begun > 45.0
    check_whole(copied(out, tmp_path / "final"), num_trials=3)


def test_cluster_that_does_not_reach_the_bucket_is_refused_with_a_line(
    small_spec: dict[str, Any], ray_address: str, bucket: str, ray_folder: Path, tmp_path: Path
) -> None:
    # The cluster began before there were credentials.
    spec_file, out = tmp_path / "spec.yaml", f"{bucket}/refused"
    spec_file.write_text(yaml.safe_dump(small_spec), encoding="utf-8")
    answer = run_command([str(spec_file), "--out", out, "--address", ray_address], ray_folder)
    assert answer.returncode == 2, answer.stdout
    assert f"does not reach {out}: start Ray there with the credentials" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not [item for item in copied(out, tmp_path / "refused").iterdir() if item.name.startswith(".seen")]


def _num_records(out: str) -> int:
    return len(RunStore.open(out).records()) if Storage(out).exists("run.json") else 0


def _has_state(out: str) -> bool:
    checkpoints = Checkpoints(f"{out}/checkpoints")
    return any(checkpoints.has_state(number) for number in checkpoints.numbers())
