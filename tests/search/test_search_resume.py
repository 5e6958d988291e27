"""A search that is interrupted at any moment loses no finished trial, trains none twice, and goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from depthweave.reports.records import Record
from depthweave.reports.store import RunStore
from depthweave.search.driver import run_search
from depthweave.search.entry import Entry
from depthweave.search.setting import Setting, create_run
from depthweave.search.studies import CURVES_STUDY, OBJECTIVES_STUDY
from tests.search.searching import Listening, resume, setting_of

# Ray's processes start slowly where the machine is busy.
pytestmark = pytest.mark.timeout(600)

_COMMAND = [sys.executable, "-c", "from depthweave.search.cli import main; main()"]
_PATIENCE_S = 120.0
"""The machine may be busy with other things: nothing here measures time."""


class _Interrupting(Listening):
    """Ctrl-C when a trial that is not among the first reports its first evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.pressed = False

    def on_evaluation(self, entry: Entry) -> None:
        if len(self.finished) >= 2 and not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)


def test_interrupted_search_keeps_its_records_and_goes_on_from_checkpoints(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    setting = setting_of(small_spec, "search.trials=5", "resources.max_concurrent=1")
    store = create_run(setting, out=tmp_path / "run")
    first = run_search(setting, store, address=ray_address, progress=_Interrupting())

    assert (first.ending, len(first.records)) == ("interrupted", 2)
    assert Path(store.report_path).exists()
    assert _states(store) == {TrialState.COMPLETE: 2, TrialState.WAITING: 1}
    kept = _kept(tmp_path / "run")

    second = resume(setting, out=tmp_path / "run", address=ray_address)

    _check_whole(setting, second.records, kept=kept, out=tmp_path / "run", num_trials=5)
    # The third trial was stopped after its first evaluation, of which its checkpoint is.
    assert [item.attempts for item in second.records] == [1, 1, 2, 1, 1]
    assert [row["index"] for row in store.evaluations([2]).to_pylist()] == [0, 1, 2]


@pytest.mark.slow
def test_search_ends_with_its_time_budget_and_goes_on(
    small_spec: dict[str, Any], ray_address: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    setting = setting_of(small_spec, "search.trials=3", "search.time_budget_s=0.01")
    first = run_search(setting, create_run(setting, out=out), address=ray_address, progress=Listening())
    assert (first.ending, first.records) == ("time", [])
    assert set(_states(first.store)) == {TrialState.WAITING}

    second = resume(setting_of(small_spec, "search.trials=3"), out=out, address=ray_address)
    assert second.ending == "done"
    _check_whole(setting, second.records, kept={}, out=out, num_trials=3)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Ray's temporary folder for the commands of one test; whatever still runs there is killed at the end."""
    # Ray's sockets are below it, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="dw-"))
    yield folder
    _kill_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


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
    with _started([str(spec_file), "--out", str(out), "--trials", "6"], ray_folder) as search:
        _wait(lambda: len(_kept(out)) >= 2 and bool(_in_flight(out)), search)
        second = _run(["--resume", "--out", str(out)], ray_folder)
        _kill_all(ray_folder)
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert "another search is working on this run" in second.stderr

    kept, in_flight = _kept(out), _in_flight(out)
    store = RunStore.open(out)
    assert len(kept) < 6
    assert _run(["--resume", "--out", str(out)], ray_folder).returncode == 0
    records = store.records()
    _check_whole(setting_of(yaml.safe_load(spec_file.read_text())), records, kept=kept, out=out, num_trials=6)
    went_on = {item.trial for item in records if item.attempts > 1}
    # Those whose first evaluation alone was kept go on too.
    assert set() < in_flight <= went_on

    kept = _kept(out)
    other = _run([str(spec_file), "--resume", "--out", str(out), "--set", "recipe.batch=8"], ray_folder)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "recipe.batch is 8, was 4" in other.stderr

    assert _run([str(spec_file), "--resume", "--out", str(out), "--trials", "8"], ray_folder).returncode == 0
    _check_whole(setting_of(yaml.safe_load(spec_file.read_text())), store.records(), kept=kept, out=out, num_trials=8)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds Ray's processes in /proc")
def test_control_c_ends_tidily_and_resume_completes(spec_file: Path, ray_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with _started([str(spec_file), "--out", str(out), "--trials", "5"], ray_folder) as search:
        _wait(lambda: len(_kept(out)) >= 1 and bool(_in_flight(out)), search)
        # A terminal sends it to the whole foreground group, Ray's processes included.
        os.killpg(search.pid, signal.SIGINT)
        told, _ = search.communicate(timeout=_PATIENCE_S)
    assert search.returncode == 130
    assert f"depthweave search --resume --out {out}" in told
    assert "Traceback" not in told
    assert not _processes(ray_folder)

    store = RunStore.open(out)
    kept = _kept(out)
    assert len(store.records()) == len(kept) >= 1
    assert Path(store.report_path).exists()
    assert set(_states(store)) <= {TrialState.COMPLETE, TrialState.WAITING}
    assert _run(["--resume", "--out", str(out)], ray_folder).returncode == 0
    _check_whole(setting_of(yaml.safe_load(spec_file.read_text())), store.records(), kept=kept, out=out, num_trials=5)


def _check_whole(
    setting: Setting, records: list[Record], *, kept: dict[int, Record], out: Path, num_trials: int
) -> None:
    """As many records as asked for, each architecture once, those known before untouched, and no ghost anywhere."""
    assert len(records) == num_trials
    assert len({item.architecture_id for item in records}) == num_trials
    assert {item.architecture_id for item in records} <= {item.architecture.id for item in setting.space}
    assert {item.state for item in records} == {"complete"}
    now = _kept(out)
    assert {trial: now[trial] for trial in kept} == kept
    assert _states(RunStore.open(out)) == {TrialState.COMPLETE: num_trials}
    # Checkpoints are gone; the weights of complete trials stay.
    assert {path.name for path in out.glob("checkpoints/*/*")} == {"model.safetensors"}


def _kept(out: Path) -> dict[int, Record]:
    """The records by trial, less the latencies, which the end of a search measures again."""
    if not (out / "run.json").exists():
        return {}
    names = ("latency", "latency_low", "latency_high", "latency_s", "reference_latency_s", "trial_latency")
    names = (*names, "step_latency", "step_latency_s", "reference_step_latency_s", "latency_noise")
    told_again = dict.fromkeys(names)
    return {item.trial: dataclasses.replace(item, **told_again) for item in RunStore.open(out).records()}


def _in_flight(out: Path) -> set[int]:
    """Numbers of the trials with a checkpoint of an unfinished training and no record."""
    recorded = set(_kept(out))
    found = set()
    for path in out.glob("checkpoints/trial-*/progress.json"):
        number = int(path.parent.name.split("-")[1])
        num_evaluations = len(json.loads(path.read_text())["evaluations"])
        if number not in recorded and 2 <= num_evaluations < 40 and (path.parent / "state.pt").exists():
            found.add(number)
    return found


def _states(store: RunStore) -> Counter[TrialState]:
    """States in the objectives study; those of the curves are the same."""
    storage = JournalStorage(JournalFileBackend(store.journal_path))
    objectives, curves = (
        Counter(item.state for item in optuna.load_study(study_name=name, storage=storage).trials)
        for name in (OBJECTIVES_STUDY, CURVES_STUDY)
    )
    for states in (objectives, curves):
        # A trial that was not begun yet has no curve, and an interrupted one's curve still runs.
        states.pop(TrialState.WAITING, None)
    curves.pop(TrialState.RUNNING, None)
    assert objectives == curves
    return Counter(item.state for item in optuna.load_study(study_name=OBJECTIVES_STUDY, storage=storage).trials)


def _started(arguments: list[str], ray_folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*_COMMAND, "search", *arguments],
        env={**os.environ, "RAY_TMPDIR": str(ray_folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _run(arguments: list[str], ray_folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, "search", *arguments],
        env={**os.environ, "RAY_TMPDIR": str(ray_folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        start_new_session=True,
        check=False,
    )


def _wait(condition: Callable[[], bool], search: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert search.poll() is None, f"the search ended: {search.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _kill_all(ray_folder: Path) -> None:
    """SIGKILL for the search and for all that Ray started for it, until nothing is left."""
    deadline = time.monotonic() + 30.0
    while found := _processes(ray_folder):
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _processes(ray_folder: Path) -> list[int]:
    """Processes alive that were started with this temporary folder of Ray's."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_ours = f"RAY_TMPDIR={ray_folder}".encode() in (path / "environ").read_bytes().split(b"\0")
            # The state follows the name, which is in brackets. Z is dead, and waits for its parent to look.
            alive = (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if is_ours and alive:
                found.append(int(path.name))
    return found
