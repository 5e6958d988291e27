"""Locks on files between processes: who may take one, who holds it, and for how long to wait.

`flock` asks only that a file can be opened: a lock file that everybody may read is one that every user of the machine
may hold. So it has the permissions of those who may write the folder it guards.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

SILENT_S = 2.0
"""Who waits longer says for whom."""
_POLL_S = 0.05
_SHOWN = 100
_LOCKS = Path("/proc/locks")
"""Linux's list of all locks."""

logger = logging.getLogger(__name__)


class LockTimeoutError(TimeoutError):
    """A lock was not free in time; one line."""


def lock_mode(folder: str | os.PathLike[str]) -> int:
    """The permissions of a lock file in that folder: for those who may write there, and nobody else."""
    mode = 0o600
    with suppress(OSError):
        given = os.stat(folder).st_mode
        mode |= 0o060 if given & stat.S_IWGRP else 0
        mode |= 0o006 if given & stat.S_IWOTH else 0
    return mode


def file_lock(path: str | os.PathLike[str]) -> BaseFileLock:
    """A lock that those may take who may write the folder it is in."""
    mode = lock_mode(os.path.dirname(path) or ".")
    with suppress(OSError):
        found = os.lstat(path)
        # Earlier versions let everybody read it.
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
            os.chmod(path, mode)
    return FileLock(path, mode=mode)


def wait_for(acquire: Callable[[], bool], path: str | os.PathLike[str], *, limit_s: float) -> None:
    """Tries until `acquire` has the lock of that file; after two seconds the log says who holds it.

    Raises `LockTimeoutError` after `limit_s`.
    """
    began, told = time.monotonic(), False
    while not acquire():
        waited_s = time.monotonic() - began
        if waited_s >= limit_s:
            raise LockTimeoutError(
                f"{os.fspath(path)}: locked for {limit_s:.0f} s by {holder(path)}: wait for it or end it, and try again"
            )
        if not told and waited_s >= SILENT_S:
            told = True
            logger.warning("waiting for %s, locked by %s", os.fspath(path), holder(path))
        time.sleep(_POLL_S)


def acquire_soon(lock: BaseFileLock, *, limit_s: float) -> None:
    """Takes the lock, waiting as `wait_for` does."""

    def acquire() -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    wait_for(acquire, lock.lock_file, limit_s=limit_s)


def holder(path: str | os.PathLike[str]) -> str:
    """Who holds the lock of a file, as far as the system tells: "process 123 (depthweave measure none)"."""
    found = sorted(_holders(path))
    return " and ".join(_process(pid) for pid in found) or "another process"


def _holders(path: str | os.PathLike[str]) -> set[int]:
    """Processes with a lock on the file; none where the system does not tell. Those that wait are marked `->`."""
    try:
        status = os.stat(path)
        lines = _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    words = [line.split() for line in lines]
    # 3: FLOCK  ADVISORY  WRITE 4711 fe:00:2467407 0 EOF
    pids = [item[4] for item in words if len(item) > 5 and item[1] == "FLOCK" and item[5] == place]
    return {int(pid) for pid in pids if pid.isdigit() and int(pid)} - {os.getpid()}


def _process(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
    except OSError:
        command = ""
    command = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}..."
    return f"process {pid}" + (f" ({command})" if command else "")
