"""File locks between processes: their permissions, their holders, and waiting for them.

`flock` only needs a file to be opened, so every user who may read a lock file can hold the lock. Therefore only users
who may write to the guarded folder may open its lock file.
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

WARN_AFTER_S = 2.0
"""A longer wait is logged, with the holder of the lock."""
_POLL_S = 0.05
_MAX_COMMAND = 100
"""Characters of a command line in a message."""
_LOCKS = Path("/proc/locks")
"""Linux's list of all locks."""

logger = logging.getLogger(__name__)


class LockTimeoutError(TimeoutError):
    """A lock was not free in time; the message is one line."""


def lock_mode(folder: str | os.PathLike[str]) -> int:
    """Returns the permissions of a lock file in that folder: only users who may write there may open it."""
    mode = 0o600
    with suppress(OSError):
        given = os.stat(folder).st_mode
        mode |= 0o060 if given & stat.S_IWGRP else 0
        mode |= 0o006 if given & stat.S_IWOTH else 0
    return mode


def file_lock(path: str | os.PathLike[str]) -> BaseFileLock:
    """Returns a lock that only users who may write to its folder can take."""
    mode = lock_mode(os.path.dirname(path) or ".")
    with suppress(OSError):
        found = os.lstat(path)
        # Earlier versions let every user read it.
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
            os.chmod(path, mode)
    return FileLock(path, mode=mode)


def wait_for(acquire: Callable[[], bool], path: str | os.PathLike[str], *, limit_s: float) -> None:
    """Calls `acquire` until it returns true; logs who holds the lock of the file after two seconds.

    Raises `LockTimeoutError` after `limit_s`.
    """
    began, warned = time.monotonic(), False
    while not acquire():
        waited_s = time.monotonic() - began
        if waited_s >= limit_s:
            raise LockTimeoutError(
                f"{os.fspath(path)}: locked for {limit_s:.0f} s by {holder(path)}: wait for it or end it, and try again"
            )
        if not warned and waited_s >= WARN_AFTER_S:
            warned = True
            logger.warning("waiting for %s, locked by %s", os.fspath(path), holder(path))
        time.sleep(_POLL_S)


def acquire_soon(lock: BaseFileLock, *, limit_s: float) -> None:
    """Takes the lock; waits as `wait_for` does."""

    def acquire() -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    wait_for(acquire, lock.lock_file, limit_s=limit_s)


def holder(path: str | os.PathLike[str]) -> str:
    """Returns who holds the lock of a file, if the system says: "process 123 (depthweave measure none)"."""
    found = sorted(_holders(path))
    return " and ".join(_process(pid) for pid in found) or "another process"


def _holders(path: str | os.PathLike[str]) -> set[int]:
    """Returns the processes with a lock on the file, if the system lists them; waiting ones are marked `->` there."""
    try:
        status = os.stat(path)
        lines = _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    words = [line.split() for line in lines]
    # A line: `3: FLOCK  ADVISORY  WRITE 4711 fe:00:2467407 0 EOF`.
    pids = [item[4] for item in words if len(item) > 5 and item[1] == "FLOCK" and item[5] == place]
    return {int(pid) for pid in pids if pid.isdigit() and int(pid)} - {os.getpid()}


def _process(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
    except OSError:
        command = ""
    command = command if len(command) <= _MAX_COMMAND else f"{command[:_MAX_COMMAND]}..."
    return f"process {pid}" + (f" ({command})" if command else "")
