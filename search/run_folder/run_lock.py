"""One search or confirmation a run folder: the second is refused while the first lives, and takes over from a dead one.

On a disk that is a file lock. Object storage has none: there a lease stands in the folder, which its holder renews;
one that nobody renews any more belongs to a dead holder. Whose clock is right does not matter: who waits looks whether
the lease changes.
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
"""A lease that did not change for so long has no living holder: several renewals, and what an upload may take."""
_LOOK_S = 1.0
_SETTLE_S = 2.0
"""Of two that take a lease at once the later one has it; both have looked after this."""


@contextmanager
def locked_run(storage: Storage, *, on_wait: Callable[[str], None]) -> Iterator[None]:
    """The run folder is this process's; writing into this `storage` raises `ValueError` once it is not any more.

    Raises `ValueError`, one line, where another search works on it. `on_wait` is told why it takes long.
    """
    if storage.is_local:
        lock = file_lock(storage.path("search.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(_taken(storage, f" ({holder(lock.lock_file)})")) from None
        try:
            yield
        finally:
            lock.release()
        return
    lease = _Lease(storage)
    lease.take(on_wait=on_wait)
    storage.before_write = lease.check
    try:
        yield
    finally:
        storage.before_write = None
        lease.give_back()


class _Lease:
    def __init__(self, storage: Storage) -> None:
        self._storage, self._hasty = storage, storage.without_retries()
        self._holder = {"id": uuid.uuid4().hex, "host": platform.node(), "machine": _machine(), "pid": os.getpid()}
        self._renewals = 0
        self._lost = False
        self._seen_s = 0.0
        """When it was last known to be this process's."""
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)

    def take(self, *, on_wait: Callable[[str], None]) -> None:
        """The lease is this process's; `ValueError` where another holds it."""
        found = self._read(self._storage)
        if found is not None and not self._is_dead_here(found):
            on_wait(f"a search on {found.get('host')} holds the run: waiting {_DEAD_S:.0f} s to see whether it lives")
            self._wait_for_sign(found)
        self._write(self._storage)
        time.sleep(_SETTLE_S)
        if not self._is_mine(self._storage):
            raise ValueError(_taken(self._storage, ""))
        self._renewer.start()

    def check(self) -> None:
        """Raises `ValueError` where another process has taken the run over."""
        # The renewer may hear nothing: of two machines the one may be cut off, and the other not.
        if not self._lost and _now_s() - self._seen_s > 2 * _RENEW_S:
            self._lost = not self._is_mine(self._storage)
        if self._lost:
            raise ValueError(
                f"{self._storage.where}: another search has taken this run over, because this one gave no sign of life "
                f"for {_DEAD_S:.0f} s; what it recorded is kept"
            )

    def give_back(self) -> None:
        """Whoever comes next need not wait."""
        self._ended.set()
        if self._renewer.is_alive():
            self._renewer.join(timeout=_RENEW_S)
        with suppress(OSError):
            if self._is_mine(self._hasty):
                self._hasty.delete(LEASE)

    def _wait_for_sign(self, found: dict[str, object]) -> None:
        since = time.monotonic()
        while time.monotonic() - since < _DEAD_S:
            time.sleep(_LOOK_S)
            asked = time.monotonic()
            now = self._read(self._storage)
            if now is None:
                return
            if now != found:
                raise ValueError(_taken(self._storage, f" on {now.get('host')}"))
            if time.monotonic() - asked > _RENEW_S:
                # While the storage was away nobody could renew anything.
                since = time.monotonic()

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(_RENEW_S):
            try:
                # Without patience: who waited to write would write over a lease that is another's by then.
                if not self._is_mine(self._hasty):
                    self._lost = True
                    return
                self._write(self._hasty)
            except OSError:
                # Away, or cut off. No error may end the renewals unheard.
                continue

    def _is_mine(self, storage: Storage) -> bool:
        asked_s, found = _now_s(), self._read(storage)
        mine = found is not None and found.get("id") == self._holder["id"]
        if mine:
            self._seen_s = asked_s
        return mine

    def _is_dead_here(self, found: dict[str, object]) -> bool:
        """Whether the holder was a process of this machine that is no more."""
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
    """Seconds; where the system tells them, those too in which the machine slept."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _machine() -> str:
    """What two processes share that see each other's numbers; empty where that is not told. Names may be shared."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _taken(storage: Storage, where: str) -> str:
    return f"{storage.where}: another search{where} is working on this run; wait for it or stop it"
