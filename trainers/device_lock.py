"""Who uses a device: any number of trainings at once, or one measurement alone.

Trials may share a GPU, and a run that is timed while others compute on it is slower by as much as they take. So a
training holds a shared lock of its device and gives way when a measurement waits; a measurement holds the lock alone.
On a CPU a measurement excludes other measurements only: on one thread it is timed by the processor's own clock, which
stands still while others have the core.

Two files a device, locked by `flock`, which the system releases when a process dies. A measurement first locks the
turnstile, so that no new training enters, and then waits until those inside have left the room. A training that finds
the turnstile locked leaves, passes it when it is free again, and returns. So a measurement waits for one slice of
training at most, however many trainings there are.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from depthweave.spaces.locks import wait_for
from depthweave.trainers.machine import device_key, synchronize

GiveWay = Callable[[], float]
"""Called after every step of a training; returns the seconds that it waited for a measurement."""

_SLICE_S = 0.25
"""How long a training goes on before it looks whether a measurement waits."""


class NoDeviceLock:
    """In place of a lock where nothing else uses the device."""

    @contextmanager
    def alone(self) -> Iterator[float]:
        """As `DeviceLock.alone`: no wait."""
        yield 0.0

    def shared(self) -> AbstractContextManager[None]:
        """As `DeviceLock.shared`."""
        return nullcontext()

    def give_way(self) -> float:
        """As `DeviceLock.give_way`: no wait."""
        return 0.0


UNSHARED = NoDeviceLock()


class DeviceLock:
    """The lock of one device of this machine, for the processes that name the same folder."""

    def __init__(self, folder: str | Path, *, device: torch.device, limit_s: float | None = None) -> None:
        """`folder` lies on a disk of the machine, and is created by the first lock.

        With `limit_s` a wait in `alone` says after two seconds for whom it waits, and ends with `LockTimeoutError`.
        """
        name = f"{platform.node()}-{device_key(device)}"
        self._device = device
        self._turnstile = _FileLock(Path(folder) / f"measure-{name}.lock")
        self._room = _FileLock(Path(folder) / f"train-{name}.lock")
        self._limit_s = limit_s
        self._looked_s = 0.0

    @contextmanager
    def alone(self) -> Iterator[float]:
        """Within it nothing else that holds this lock uses the device. Yields the seconds that it waited."""
        asked_s, kind = time.perf_counter(), fcntl.LOCK_EX
        with self._turnstile.held(kind, limit_s=self._limit_s), self._room.held(kind, limit_s=self._limit_s):
            yield time.perf_counter() - asked_s

    def shared(self) -> AbstractContextManager[None]:
        """Within it the device is used for training, and `give_way` lets measurements in. Nothing on a CPU."""
        return nullcontext() if self._device.type == "cpu" else self._shared()

    def give_way(self) -> float:
        """Leaves the device to a measurement that waits for it; returns the seconds for which it was left.

        To be called within `shared`. Looks a few times a second; the device has finished all its work when it leaves.
        """
        now_s = time.perf_counter()
        if self._device.type == "cpu" or now_s - self._looked_s < _SLICE_S:
            return 0.0
        self._looked_s = now_s
        if self._turnstile.try_shared():
            return 0.0
        # The work that was queued is the training's own time.
        synchronize(self._device)
        left_s = time.perf_counter()
        self._room.release()
        self._enter()
        self._looked_s = time.perf_counter()
        return self._looked_s - left_s

    @contextmanager
    def _shared(self) -> Iterator[None]:
        self._enter()
        self._looked_s = time.perf_counter()
        try:
            yield
        finally:
            try:
                synchronize(self._device)
            finally:
                # After an illegal access the device answers nothing but errors; others go on all the same.
                self._room.release()

    def _enter(self) -> None:
        """Waits for the measurements that came before, and enters the room in the same turn."""
        with self._turnstile.held(fcntl.LOCK_SH):
            self._room.acquire(fcntl.LOCK_SH)


class _FileLock:
    """One file, locked at most once by this object at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, kind: int, *, limit_s: float | None = None) -> None:
        """Waits for the lock, `LOCK_SH` or `LOCK_EX`; signals are delivered meanwhile."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A link under the name is not followed.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

        def try_now() -> bool:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                return True
            return False

        try:
            if limit_s is None:
                fcntl.flock(descriptor, kind)
            else:
                wait_for(try_now, self._path, limit_s=limit_s)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Releases the lock; a process forked meanwhile does not keep it."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    @contextmanager
    def held(self, kind: int, *, limit_s: float | None = None) -> Iterator[None]:
        """The lock within it."""
        self.acquire(kind, limit_s=limit_s)
        try:
            yield
        finally:
            self.release()

    def try_shared(self) -> bool:
        """Whether the lock is free for sharing now; it is not kept."""
        try:
            self.acquire(fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.release()
        return True
