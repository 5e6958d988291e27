"""The lock of a run folder: one search or confirmation at a time, and the next takes over from a dead one.

On a disk it is a file lock. Object storage has no locks: there a file in the folder is a lease, which its holder
rewrites at intervals. A lease that no longer changes belongs to a dead holder. The machines need no common clock: a
waiting process only watches whether the lease changes.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from depthweave.reports.store.storage import Storage
from depthweave.spaces.locks import file_lock, holder

LEASE = "search.lease"
_RENEW_S = 10.0
_DEAD_S = 45.0
"""The holder of a lease that is unchanged for this time is dead: it allows for several renewals and a slow upload."""
_POLL_S = 1.0
_SETTLE_S = 2.0
"""When two processes take a lease at once, the later write wins; after this time both see it."""


@contextmanager
def locked_run(storage: Storage, *, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Holds the run folder for this process. If another search takes it over, writing to `storage` raises `ValueError`.

    Raises `ValueError`, one line, where another search works on the run. `on_wait` gets a line before a long wait.
    """
    if storage.is_local:
        lock = file_lock(storage.path("search.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(_locked_sentence(storage, f" ({holder(lock.lock_file)})")) from None
        try:
            yield
        finally:
            lock.release()
        return
    lease = _Lease(storage)
    lease.acquire(on_wait=on_wait)
    storage.before_write = lease.check
    try:
        yield
    finally:
        storage.before_write = None
        lease.release()


class _Lease:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._storage_without_retries = storage.without_retries()
        self._holder = {"id": uuid.uuid4().hex, "host": platform.node(), "machine": _machine(), "pid": os.getpid()}
        self._renewals = 0
        self._lost = False
        self._seen_s = 0.0
        """When this process last saw that it holds the lease."""
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)

    def acquire(self, *, on_wait: Callable[[str], None]) -> None:
        """Takes the lease; raises `ValueError` where another process holds it."""
        found = self._read(self._storage)
        if found is not None and not self._is_dead_here(found):
            on_wait(
                f"a search on {found.get('host')} holds the run: waiting {_DEAD_S:.0f} s to see whether it is alive"
            )
            self._check_holder_is_dead(found)
        self._write(self._storage)
        time.sleep(_SETTLE_S)
        if not self._is_mine(self._storage):
            raise ValueError(_locked_sentence(self._storage, ""))
        self._renewer.start()

    def check(self) -> None:
        """Raises `ValueError` where another process has taken the run over."""
        # The renewing thread may have failed to notice: this machine may be cut off while the other is not.
        if not self._lost and _now_s() - self._seen_s > 2 * _RENEW_S:
            self._lost = not self._is_mine(self._storage)
        if self._lost:
            raise ValueError(
                f"{self._storage.where}: another search has taken this run over, as this one did not renew its lease "
                f"for {_DEAD_S:.0f} s; its records are kept"
            )

    def release(self) -> None:
        """Deletes the lease, so that the next search need not wait."""
        self._ended.set()
        if self._renewer.is_alive():
            self._renewer.join(timeout=_RENEW_S)
        with suppress(OSError):
            if self._is_mine(self._storage_without_retries):
                self._storage_without_retries.delete(LEASE)

    def _check_holder_is_dead(self, found: dict[str, object]) -> None:
        since = time.monotonic()
        while time.monotonic() - since < _DEAD_S:
            time.sleep(_POLL_S)
            read_began = time.monotonic()
            now = self._read(self._storage)
            if now is None:
                return
            if now != found:
                raise ValueError(_locked_sentence(self._storage, f" on {now.get('host')}"))
            if time.monotonic() - read_began > _RENEW_S:
                # The storage was unreachable, so the holder could not renew either.
                since = time.monotonic()

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(_RENEW_S):
            try:
                # Without retries: a delayed write could overwrite the lease of another process.
                if not self._is_mine(self._storage_without_retries):
                    self._lost = True
                    return
                self._write(self._storage_without_retries)
            except OSError:
                # The storage is unreachable. No error may end the renewals silently.
                continue

    def _is_mine(self, storage: Storage) -> bool:
        now_s, found = _now_s(), self._read(storage)
        mine = found is not None and found.get("id") == self._holder["id"]
        if mine:
            self._seen_s = now_s
        return mine

    def _is_dead_here(self, found: dict[str, object]) -> bool:
        """Returns whether the holder was a process of this machine that has ended."""
        pid = found.get("pid")
        if not _machine() or found.get("machine") != _machine() or not isinstance(pid, int) or pid <= 0:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def _read(self, storage: Storage) -> dict[str, object] | None:
        try:
            text = storage.read(LEASE)
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, storage: Storage) -> None:
        self._renewals += 1
        storage.write(LEASE, json.dumps({**self._holder, "renewals": self._renewals}).encode())


def _now_s() -> float:
    """Returns a clock in seconds that also counts while the machine sleeps, if the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _machine() -> str:
    """Returns an id that is equal for processes that can see each other's pid; empty if the system has none."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _locked_sentence(storage: Storage, where: str) -> str:
    return f"{storage.where}: another search{where} is working on this run; wait for it or stop it"
