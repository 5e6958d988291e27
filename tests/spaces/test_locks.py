"""Locks on files: who may take them, who holds one, and how long is waited."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from depthweave.spaces import locks
from depthweave.spaces.locks import LockTimeoutError, acquire_soon, file_lock, holder, lock_mode

_HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A file that another process has locked."""
    path = tmp_path / "held.lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield path
        process.kill()


def test_waiting_says_who_holds_the_lock_and_has_an_end(
    held: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "WARN_AFTER_S", 0.01)
    lock = file_lock(held)
    with pytest.raises(LockTimeoutError, match=r"held\.lock: locked for 0 s by .*process.*: wait for it or end it"):
        acquire_soon(lock, limit_s=0.3)
    assert not lock.is_locked
    (line,) = caplog.messages
    assert line.startswith(f"waiting for {held}, locked by ")


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system lists no locks")
def test_holder_is_named_with_its_command(held: Path, tmp_path: Path) -> None:
    assert re.fullmatch(r"process \d+ \(.*python.* -c import fcntl.*\.\.\.\)", holder(held))
    assert holder(tmp_path / "none.lock") == "another process"


def test_lock_is_for_those_who_may_write_the_folder(tmp_path: Path) -> None:
    for folder_mode, wanted in ((0o755, 0o600), (0o775, 0o660), (0o777, 0o666)):
        folder = tmp_path / f"{folder_mode:o}"
        folder.mkdir()
        folder.chmod(folder_mode)
        # As an earlier version left it.
        (folder / "old.lock").touch(mode=0o644)
        for name in ("old.lock", "new.lock"):
            with file_lock(folder / name):
                assert (folder / name).stat().st_mode & 0o777 == wanted
    assert lock_mode(tmp_path / "missing") == 0o600


def test_link_in_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch(mode=0o644)
    (tmp_path / "x.lock").symlink_to(target)
    with pytest.raises(OSError, match=r"x\.lock"), file_lock(tmp_path / "x.lock"):
        pass
    assert target.stat().st_mode & 0o777 == 0o644


def test_lock_that_is_free_is_taken_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock = file_lock(tmp_path / "x.lock")
    acquire_soon(lock, limit_s=5.0)
    with open(tmp_path / "x.lock", "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release()
    assert caplog.messages == []
    assert os.access(tmp_path / "x.lock", os.R_OK)
