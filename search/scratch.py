"""Private folders in the machine's temporary folder: no other user can read, lock or fill them.

Each is locked by the process that made it, which removes it at its end. The folder of a killed process is removed by
the next process that makes one, since its lock is free. (A process id would not do: two containers that share the
temporary folder may use the same.)
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = ".lock"
_FOLDER = re.compile(r"[a-z]+-[0-9a-f]{4}")
_PRIVATE = 0o700


def private_folder(place: str | os.PathLike[str] | None = None) -> Path:
    """Returns this user's folder in `place`, by default the temporary folder, and makes it if it is missing.

    Raises `ValueError` where it belongs to another user, who may have made it first: its name is predictable.
    """
    place = Path(tempfile.gettempdir() if place is None else place)
    folder = place / f"depthweave-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=_PRIVATE)
    # `lstat`: the link itself, not its target.
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ValueError(f"{folder} is not a folder of this user: set TMPDIR to a folder of your own")
    if stat.S_IMODE(found.st_mode) & ~_PRIVATE:
        folder.chmod(_PRIVATE)
    return folder


def lock_folder(locks: str) -> Path:
    """Returns the folder for locks: an absolute path as it is, a name below this user's private folder."""
    return Path(locks) if os.path.isabs(locks) else private_folder() / locks


def device_locks(locks: str, *, device_type: str) -> Path:
    """Returns the folder for a device's lock: one for all GPU processes of this user, `locks` for a CPU.

    GPU timings are disturbed by any other process on the GPU; CPU timings use the clock of the process.
    """
    return lock_folder(locks) if device_type == "cpu" else private_folder() / "locks"


class Scratch:
    """A new folder below the private one; it exists until `remove` or the end of the process."""

    def __init__(self, kind: str, *, place: str | os.PathLike[str] | None = None) -> None:
        """`kind` is the start of its name; `place` is as in `private_folder`."""
        private = private_folder(place)
        _sweep(private)
        while True:
            self.path = private / f"{kind}-{secrets.token_hex(2)}"
            """The folder; its name is short, since the paths of sockets are limited."""
            self._lock = _try_lock(_lock_path(self.path), os.O_CREAT | os.O_EXCL)
            if self._lock is not None:
                break
        self.path.mkdir(mode=_PRIVATE)

    def remove(self) -> None:
        """Removes the folder with its content."""
        if self._lock is not None:
            descriptor, self._lock = self._lock, None
            shutil.rmtree(self.path, ignore_errors=True)
            # The lock last: a folder without a lock would never be swept.
            _lock_path(self.path).unlink(missing_ok=True)
            os.close(descriptor)


@contextmanager
def scratch(kind: str, *, place: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yields a new private folder, and removes it at the end."""
    folder = Scratch(kind, place=place)
    try:
        yield folder.path
    finally:
        folder.remove()


def _sweep(private: Path) -> None:
    """Removes the folders that killed processes left behind."""
    for path in private.glob(f"*{_LOCK}"):
        descriptor = _try_lock(path, 0)
        if descriptor is not None:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
            os.close(descriptor)
    # A Ray that outlives its killed driver may make its folder again after that. A folder in use has a lock: it is
    # created before the folder and removed after it.
    for path in private.iterdir():
        if _FOLDER.fullmatch(path.name) and not _lock_path(path).exists():
            shutil.rmtree(path, ignore_errors=True)


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _try_lock(path: Path, flags: int) -> int | None:
    """Returns the descriptor of the locked file; `None` where another process has locked or removed it."""
    try:
        # Not inherited by child processes, which would keep the lock.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    except OSError:
        # With O_EXCL the name exists. Otherwise the path is not a file, or is missing.
        if flags and not path.exists():
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A sweep may have removed the file between its creation and its lock.
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
