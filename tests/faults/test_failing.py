"""A search without results: it says why, exits with a code that is not 0, and continues once the cause is repaired."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthweave.reports.store.run_store import RunStore
from tests.faults.wholeness import check_whole
from tests.search.commandline import Cli
from tests.search.faulty_trials import faulty_trial
from tests.search.processes import PATIENCE_S
from tests.search.search_runs import prepared_search

pytestmark = [pytest.mark.release, pytest.mark.timeout(600)]


def test_search_whose_trials_all_fail_says_why_and_is_retried(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path, run: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec_file, out = tmp_path / "spec.yaml", tmp_path / "run"
    spec = {**small_spec, "search": {"trials": 3, "pruner": "none", "retries": 0}}
    spec_file.write_text(yaml.safe_dump(spec), encoding="utf-8")
    ids = [item.architecture.id for item in prepared_search(spec).space]
    resume = ("search", "--resume", "--out", out, "--address", ray_address)

    with monkeypatch.context() as patch:
        patch.setattr("depthweave.search.tune.loop.ArchitectureTrial", faulty_trial(dict.fromkeys(ids, "raises")))
        answer = run("search", spec_file, "--out", out, "--address", ray_address)
        assert answer.code == 1
        assert "no trial of 3 is complete, 3 failed, all of one cause: OSError: planted" in answer.out
        assert f"depthweave search --resume --retry-failed --out {out}" in answer.out
        assert "export:" not in answer.out
        # Five in a row are enough to know.
        answer = run(*resume, "--trials", 12)
    assert answer.code == 2
    assert "5 trials in a row failed of one cause (OSError: planted: no first evaluation)" in answer.err
    before = RunStore.open(out).records()
    assert [item.state for item in before] == ["failed"] * len(before)
    assert len(before) < 12

    answer = run(*resume, "--trials", len(before))
    assert answer.code == 0, answer.err
    states = [item.state for item in RunStore.open(out).records()]
    assert states == ["complete", *["failed"] * (len(before) - 1)], "the reference alone is tried again unasked"

    # One more than ended: a trial may have been in flight when the search stopped, and waits.
    answer = run(*resume, "--trials", len(before) + 1, "--retry-failed")
    assert answer.code == 0, answer.err
    after = check_whole(out, num_trials=len(before) + 1)
    assert {item.state for item in after} == {"complete"}
    now = {item.trial: item.architecture_id for item in after}
    assert {item.trial: now[item.trial] for item in before} == {item.trial: item.architecture_id for item in before}


def test_files_of_the_users_folder_take_no_librarys_place(
    small_spec: dict[str, Any], ray_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("numpy.py", "torch.py", "depthweave.py"):
        (folder / name).write_text("raise ImportError('a file of the user')\n", encoding="utf-8")
    (folder / "spec.yaml").write_text(yaml.safe_dump({**small_spec, "search": {"trials": 1}}), encoding="utf-8")
    # Isolated, as the installed command is: the driver itself does not import from the working folder.
    command = (
        "import sys; sys.path[:] = [item for item in sys.path if item]; from depthweave.search.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, "search", "spec.yaml", "--out", "run"],
        cwd=folder,
        env={**os.environ, "RAY_TMPDIR": str(ray_folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [item.state for item in RunStore.open(folder / "run").records()] == ["complete"]
