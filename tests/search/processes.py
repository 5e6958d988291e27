"""The command in a process of its own, with what Ray starts for it: started, awaited, killed; and what it kept."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.study.studies import CURVES_STUDY, OBJECTIVES_STUDY
from depthweave.search.trials.recording import TIMED

_COMMAND = [sys.executable, "-c", "from depthweave.search.cli import main; main()"]
PATIENCE_S = 240.0
"""The machine may be busy with other things: nothing here measures time."""


def kept_records(out: Path) -> dict[int, Record]:
    """The records by trial, less the latencies, which the end of a search measures again."""
    if not (out / "run.json").exists():
        return {}
    measured_again = dict.fromkeys((*TIMED, "trial_latency", "latency_noise"))
    return {item.trial: dataclasses.replace(item, **measured_again) for item in RunStore.open(out).records()}


def study_states(store: RunStore) -> Counter[TrialState]:
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


def started(arguments: list[str], ray_folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*_COMMAND, "search", *arguments],
        env={**os.environ, "RAY_TMPDIR": str(ray_folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_command(arguments: list[str], ray_folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, "search", *arguments],
        env={**os.environ, "RAY_TMPDIR": str(ray_folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        start_new_session=True,
        check=False,
    )


def wait(condition: Callable[[], bool], search: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert search.poll() is None, f"the search ended: {search.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def staying(ray_folder: Path) -> list[int]:
    """Returns the processes still alive after ten seconds: on a busy machine a killed one takes a while to go."""
    deadline = time.monotonic() + 10.0
    while (found := processes(ray_folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def kill_all(ray_folder: Path) -> None:
    """SIGKILL for the search and for all that Ray started for it, until nothing is left."""
    deadline = time.monotonic() + 30.0
    while found := processes(ray_folder):
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes(ray_folder: Path) -> list[int]:
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
