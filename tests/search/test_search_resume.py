"""A search that is interrupted at any moment loses no finished trial, trains none twice, and goes on."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import run_search
from depthweave.search.preparation import PreparedSearch, create_run
from depthweave.search.trials.live_trial import LiveTrial
from tests.search.processes import (
    PATIENCE_S,
    kept_records,
    kill_all,
    run_command,
    started,
    staying,
    study_states,
    wait,
)
from tests.search.search_runs import RecordingProgress, prepared_search, resume

# Ray's processes start slowly where the machine is busy.
pytestmark = pytest.mark.timeout(600)


class _Interrupting(RecordingProgress):
    """Ctrl-C when a trial that is not among the first reports its first evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.pressed = False

    def on_evaluation(self, live: LiveTrial) -> None:
        if len(self.finished) >= 2 and not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_interrupted_search_keeps_its_records_and_goes_on_from_checkpoints(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    prepared = prepared_search(small_spec, "search.trials=5", "resources.max_concurrent=1")
    store = create_run(prepared, out=tmp_path / "run")
    first = run_search(prepared, store, address=ray_address, progress=_Interrupting())

    assert (first.ending, len(first.records)) == ("interrupted", 2)
    assert Path(store.report_path).exists()
    assert study_states(store) == {TrialState.COMPLETE: 2, TrialState.WAITING: 1}
    kept = kept_records(tmp_path / "run")

    second = resume(prepared, out=tmp_path / "run", address=ray_address)

    _check_whole(prepared, second.records, kept=kept, out=tmp_path / "run", num_trials=5)
    # The third trial was interrupted after its first evaluation, and has the checkpoint of that moment.
    assert [item.attempts for item in second.records] == [1, 1, 2, 1, 1]
    assert [row["index"] for row in store.evaluations([2]).to_pylist()] == [0, 1, 2]


@pytest.mark.slow
def test_search_ends_with_its_time_budget_and_goes_on(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    prepared = prepared_search(small_spec, "search.trials=3", "search.time_budget_s=0.01")
    first = run_search(prepared, create_run(prepared, out=out), address=ray_address, progress=RecordingProgress())
    assert (first.ending, first.records) == ("time", [])
    assert set(study_states(first.store)) == {TrialState.WAITING}

    second = resume(prepared_search(small_spec, "search.trials=3"), out=out, address=ray_address)
    assert second.ending == "done"
    _check_whole(prepared, second.records, kept={}, out=out, num_trials=3)


@pytest.fixture
def spec_file(small_spec: dict[str, Any], tmp_path: Path) -> Path:
    """Trials of seconds, with many evaluations: one is always in flight with a checkpoint."""
    recipe = {**small_spec["recipe"], "steps": 400, "num_evaluations": 40}
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**small_spec, "recipe": recipe}), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds Ray's processes in /proc")
def test_killed_search_resumes_without_loss_and_takes_more_trials(
    spec_file: Path, ray_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with started([str(spec_file), "--out", str(out), "--trials", "6"], ray_folder) as search:
        wait(lambda: len(kept_records(out)) >= 2 and bool(_in_flight(out)), search)
        second = run_command(["--resume", "--out", str(out)], ray_folder)
        kill_all(ray_folder)
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert re.search(r"another search .*is working on this run", second.stderr)

    kept, in_flight = kept_records(out), _in_flight(out)
    store = RunStore.open(out)
    assert len(kept) < 6
    assert run_command(["--resume", "--out", str(out)], ray_folder).returncode == 0
    records = store.records()
    _check_whole(prepared_search(yaml.safe_load(spec_file.read_text())), records, kept=kept, out=out, num_trials=6)
    went_on = {item.trial for item in records if item.attempts > 1}
    # Those whose first evaluation alone was kept go on too.
    assert set() < in_flight <= went_on

    kept = kept_records(out)
    other = run_command([str(spec_file), "--resume", "--out", str(out), "--set", "recipe.batch=8"], ray_folder)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "recipe.batch is 8, was 4" in other.stderr

    assert run_command([str(spec_file), "--resume", "--out", str(out), "--trials", "8"], ray_folder).returncode == 0
    _check_whole(
        prepared_search(yaml.safe_load(spec_file.read_text())), store.records(), kept=kept, out=out, num_trials=8
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds Ray's processes in /proc")
def test_control_c_ends_tidily_and_resume_completes(spec_file: Path, ray_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started([str(spec_file), "--out", str(out), "--trials", "5"], ray_folder) as search:
        wait(lambda: len(kept_records(out)) >= 1 and bool(_in_flight(out)), search)
        # A terminal sends it to the whole foreground group, Ray's processes included.
        os.killpg(search.pid, signal.SIGINT)
        printed, _ = search.communicate(timeout=PATIENCE_S)
    assert search.returncode == 130
    assert f"depthweave search --resume --out {out}" in printed
    assert "Traceback" not in printed
    assert not staying(ray_folder)

    store = RunStore.open(out)
    kept = kept_records(out)
    assert len(store.records()) == len(kept) >= 1
    assert Path(store.report_path).exists()
    assert set(study_states(store)) <= {TrialState.COMPLETE, TrialState.WAITING}
    assert run_command(["--resume", "--out", str(out)], ray_folder).returncode == 0
    _check_whole(
        prepared_search(yaml.safe_load(spec_file.read_text())), store.records(), kept=kept, out=out, num_trials=5
    )


def _check_whole(
    prepared: PreparedSearch, records: list[Record], *, kept: dict[int, Record], out: Path, num_trials: int
) -> None:
    """As many records as asked for, each architecture once, those known before untouched, and no ghost anywhere."""
    assert len(records) == num_trials
    assert len({item.architecture_id for item in records}) == num_trials
    assert {item.architecture_id for item in records} <= {item.architecture.id for item in prepared.space}
    assert {item.state for item in records} == {"complete"}
    now = kept_records(out)
    assert {trial: now[trial] for trial in kept} == kept
    assert study_states(RunStore.open(out)) == {TrialState.COMPLETE: num_trials}
    # Checkpoints are gone; the weights of complete trials stay.
    assert {path.name for path in out.glob("checkpoints/*/*")} == {"model.safetensors", "model.safetensors.sha256"}


def _in_flight(out: Path) -> set[int]:
    """Numbers of the trials with a checkpoint of an unfinished training and no record."""
    recorded = set(kept_records(out))
    found = set()
    for path in out.glob("checkpoints/trial-*/progress.json"):
        number = int(path.parent.name.split("-")[1])
        num_evaluations = len(json.loads(path.read_text())["evaluations"])
        if number not in recorded and 2 <= num_evaluations < 40 and (path.parent / "state.pt").exists():
            found.add(number)
    return found
