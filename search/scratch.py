"""Folders of this user alone in the machine's temporary folder: no other user can read, hold or fill them.

Each is locked by the process that made it, which removes it at its end. What a process that was killed left behind goes
with the next that makes one: its lock is free. (A number of a process would not tell: two containers that share the
temporary folder may have the same.)
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = ".lock"
_PRIVATE = 0o700


def private_folder(place: str | os.PathLike[str] | None = None) -> Path:
    """This user's folder in `place`, the temporary folder where absent; raises `ValueError` where it is another's.

    Its name is known to all, so that any user may have taken it before.
    """
    place = Path(tempfile.gettempdir() if place is None else place)
    folder = place / f"depthweave-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=_PRIVATE)
    # Of a link itself, not of what it leads to.
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ValueError(f"{folder} is not a folder of this user's: set TMPDIR to a folder of your own")
    if stat.S_IMODE(found.st_mode) & ~_PRIVATE:
        folder.chmod(_PRIVATE)
    return folder


def lock_folder(locks: str) -> Path:
    """The folder on this machine: a path as it is, a bare name below this user's private folder."""
    return Path(locks) if os.path.isabs(locks) else private_folder() / locks


def device_locks(locks: str, *, device_type: str) -> Path:
    """Where the processes that use a device find its lock: of a GPU all of this user's, of a CPU those of `locks`.

    What is timed on a GPU shares it with whatever runs there; on a CPU the processor's own clock is read.
    """
    return lock_folder(locks) if device_type == "cpu" else private_folder() / "locks"


class Scratch:
    """A new folder below the private one, until it is removed or the process ends."""

    def __init__(self, kind: str, *, place: str | os.PathLike[str] | None = None) -> None:
        """`kind` begins its name; `place` as in `private_folder`."""
        private = private_folder(place)
        _sweep(private)
        while True:
            self.path = private / f"{kind}-{secrets.token_hex(2)}"
            """The folder; a short name, for the sockets in it."""
            self._lock = _lock(_lock_of(self.path), os.O_CREAT | os.O_EXCL)
            if self._lock is not None:
                break
        self.path.mkdir(mode=_PRIVATE)

    def remove(self) -> None:
        """The folder is gone, with all in it."""
        if self._lock is not None:
            descriptor, self._lock = self._lock, None
            shutil.rmtree(self.path, ignore_errors=True)
            # The lock last: what has none would never be removed.
            _lock_of(self.path).unlink(missing_ok=True)
            os.close(descriptor)


@contextmanager
def scratch(kind: str, *, place: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """A new folder of this user alone, which goes at the end."""
    made = Scratch(kind, place=place)
    try:
        yield made.path
    finally:
        made.remove()


def _sweep(private: Path) -> None:
    """What processes left that were killed is gone."""
    for path in private.glob(f"*{_LOCK}"):
        descriptor = _lock(path, 0)
        if descriptor is not None:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _lock(path: Path, flags: int) -> int | None:
    """The file's descriptor, locked; `None` where another process has it or has removed it."""
    try:
        # A process that this one starts does not keep it open.
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    except OSError:
        # O_EXCL: the name is taken. Else it is no file, or gone.
        if flags and not path.exists():
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A sweep may have come between its creation and its lock.
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
