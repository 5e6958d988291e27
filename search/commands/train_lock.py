"""The lock of an output folder: only one training may write to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from depthweave.spaces.checksums import check_no_link
from depthweave.spaces.locks import file_lock

LOCK_FILE = ".train.lock"


@contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """Inside, the folder exists and is locked; raises `ValueError`, one line, where another training has the lock.

    A new folder that is still empty at the end is removed.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: is not a folder; name a new one")
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    # Only the top level: Ray's folder may hold links of its own, and is removed without following them.
    for path in sorted(out.iterdir()):
        check_no_link(path)
    lock = file_lock(out / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"--out {out}: another training writes there; wait for it, or name another folder") from None
    try:
        yield
    finally:
        # Nothing waits for this lock: a training that finds it locked gives up.
        (out / LOCK_FILE).unlink(missing_ok=True)
        lock.release()
        if is_new:
            with suppress(OSError):
                out.rmdir()
