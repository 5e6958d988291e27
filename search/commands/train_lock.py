"""One training an output folder: the second is refused while the first lives."""

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
    """The folder is there, and this process's. Raises `ValueError`, one line, where another training has it.

    A folder that was made for this and is still empty at the end goes again.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: is not a folder; name a new one")
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    # Not deeper: Ray's own folder in it may hold links of Ray's, and is removed without following them.
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
        # A training that finds it taken gives up, so none waits for it.
        (out / LOCK_FILE).unlink(missing_ok=True)
        lock.release()
        if is_new:
            with suppress(OSError):
                out.rmdir()
