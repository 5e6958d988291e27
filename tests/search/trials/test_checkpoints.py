"""Checkpoints in object storage: what a worker fetches of a trial that ran elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depthweave.reports.store.storage import Storage
from depthweave.search import scratch
from depthweave.search.trials import checkpoints as module
from depthweave.search.trials.checkpoints import PROGRESS_FILE, Checkpoints
from depthweave.spaces.checksums import replace_with_checksum, verify_checksum
from depthweave.trainers.checkpoint import STATE_FILE
from tests.buckets import in_memory

_WORKER = """
import sys
from depthweave.search.trials import checkpoints
from depthweave.reports.store.storage import Storage
from tests.buckets import in_memory
checkpoints.Storage = lambda where, patient: Storage(where, filesystem=in_memory())
there = checkpoints.Checkpoints("/bucket/run")
(there.fetch(0) / "state.pt").write_text("large")
print(there.folder(0), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Storage:
    """Empty object storage, which is opened under every address."""
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path))
    opened = Storage("/bucket/run/checkpoints", filesystem=in_memory())
    monkeypatch.setattr(module, "Storage", lambda where, patient: opened)
    return opened


def test_what_another_worker_still_writes_is_not_fetched_and_dropped_in_the_end(storage: Storage) -> None:
    for name in (STATE_FILE, PROGRESS_FILE, f".{STATE_FILE}.0123.tmp"):
        storage.write(f"trial-00003/{name}", name.encode())
    checkpoints = Checkpoints("anywhere")
    folder = checkpoints.fetch(3)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {it: it for it in (STATE_FILE, PROGRESS_FILE)}
    checkpoints.drop(3, keep_weights=False)
    assert storage.files("", recursive=True) == []
    assert not Path(folder).exists()


def test_checksum_of_a_checkpoint_is_uploaded_before_it(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, taken = Checkpoints("anywhere"), []
    folder, copy_in = checkpoints.fetch(3), storage.copy_in

    def seen(path: Path, name: str) -> None:
        taken.append(name)
        copy_in(path, name)

    monkeypatch.setattr(storage, "copy_in", seen)
    (tmp_path / "new").write_text("state")
    replace_with_checksum(tmp_path / "new", folder / STATE_FILE)
    (folder / PROGRESS_FILE).write_text("{}")
    checkpoints.keep(3, [PROGRESS_FILE, STATE_FILE])
    assert taken == [f"trial-00003/{name}" for name in (PROGRESS_FILE, f"{STATE_FILE}.sha256", STATE_FILE)]
    again = checkpoints.fetch(3)
    assert verify_checksum(again / STATE_FILE)
    checkpoints.drop(3, keep_weights=True)
    assert storage.files("", recursive=True) == []


def test_scratch_of_a_killed_worker_is_deleted_by_the_next(storage: Storage, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as worker:
        assert worker.stdout is not None
        folder = Path(worker.stdout.readline().strip())
        assert folder.is_relative_to(tmp_path)
        Checkpoints("anywhere").fetch(1)
        assert (folder / "state.pt").exists(), "its worker lives"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert (folder / "state.pt").exists(), "no process has removed it yet"
    assert not Checkpoints("anywhere").folder(1).exists()
    assert list(scratch.private_folder().iterdir()) == [], "of those that ended in good order nothing is left either"
