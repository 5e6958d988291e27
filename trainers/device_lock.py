"""Shares a device between any number of trainings, or gives it to one measurement.

Trials may share a GPU. A measurement beside them would be slower by the time that they take. So a training holds a
shared lock of its device and gives way to a waiting measurement, and a measurement holds an exclusive lock. On a CPU a
measurement excludes only other measurements: on one thread it uses the thread's own clock, which does not advance while
others have the core.

A device has two lock files for `flock`, which the system releases when a process dies. A measurement first takes
`measure-*.lock`, so that no training can start. Then it waits for `train-*.lock`, which trainings share. A training
that finds the first one taken releases the second, waits, and takes it again. So a measurement waits for at most one
slice of training, however many trainings there are.
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
"""Time between two checks whether a measurement waits."""


class NoDeviceLock:
    """Replaces a lock where nothing else uses the device."""

    @contextmanager
    def exclusive(self) -> Iterator[float]:
        """Like `DeviceLock.exclusive`, without a wait."""
        yield 0.0

    def shared(self) -> AbstractContextManager[None]:
        """Acts as `DeviceLock.shared` does."""
        return nullcontext()

    def give_way(self) -> float:
        """Acts as `DeviceLock.give_way` does, and never waits."""
        return 0.0


UNSHARED = NoDeviceLock()


class DeviceLock:
    """The lock of one device of this machine, shared by the processes that name the same folder."""

    def __init__(self, folder: str | Path, *, device: torch.device, limit_s: float | None = None) -> None:
        """`folder` is on a disk of the machine; the first lock creates it.

        With `limit_s`, a wait in `exclusive` reports after two seconds what it waits for, and raises `LockTimeoutError`
        after that time.
        """
        name = f"{platform.node()}-{device_key(device)}"
        self._device = device
        self._measuring_lock = _FileLock(Path(folder) / f"measure-{name}.lock")
        self._training_lock = _FileLock(Path(folder) / f"train-{name}.lock")
        self._limit_s = limit_s
        self._checked_s = 0.0

    @contextmanager
    def exclusive(self) -> Iterator[float]:
        """Excludes all other holders of this lock within the block. Yields the seconds that it waited."""
        started_s, kind = time.perf_counter(), fcntl.LOCK_EX
        with (
            self._measuring_lock.held(kind, limit_s=self._limit_s),
            self._training_lock.held(kind, limit_s=self._limit_s),
        ):
            yield time.perf_counter() - started_s

    def shared(self) -> AbstractContextManager[None]:
        """Lets trainings use the device together within the block. Does nothing on a CPU."""
        return nullcontext() if self._device.type == "cpu" else self._shared()

    def give_way(self) -> float:
        """Lets a waiting measurement use the device; returns the seconds that this took.

        Must be called within `shared`. It checks a few times a second, and the device finishes its work before it
        leaves.
        """
        now_s = time.perf_counter()
        if self._device.type == "cpu" or now_s - self._checked_s < _SLICE_S:
            return 0.0
        self._checked_s = now_s
        if self._measuring_lock.try_shared():
            return 0.0
        # Queued work counts as training time.
        synchronize(self._device)
        left_s = time.perf_counter()
        self._training_lock.release()
        self._wait_and_share()
        self._checked_s = time.perf_counter()
        return self._checked_s - left_s

    @contextmanager
    def _shared(self) -> Iterator[None]:
        self._wait_and_share()
        self._checked_s = time.perf_counter()
        try:
            yield
        finally:
            try:
                synchronize(self._device)
            finally:
                # After an illegal access every call to the device fails, and others must still get the lock.
                self._training_lock.release()

    def _wait_and_share(self) -> None:
        """Waits for earlier measurements and enters the room while it holds the turnstile."""
        with self._measuring_lock.held(fcntl.LOCK_SH):
            self._training_lock.acquire(fcntl.LOCK_SH)


class _FileLock:
    """A lock file. This object holds at most one lock at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, kind: int, *, limit_s: float | None = None) -> None:
        """Waits for the lock, `LOCK_SH` or `LOCK_EX`. Signals are delivered while it waits."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_NOFOLLOW: the name must not be a link.
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
        """Releases the lock, also where a forked process inherited it."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    @contextmanager
    def held(self, kind: int, *, limit_s: float | None = None) -> Iterator[None]:
        """Holds the lock within the block."""
        self.acquire(kind, limit_s=limit_s)
        try:
            yield
        finally:
            self.release()

    def try_shared(self) -> bool:
        """Returns whether the lock could be shared now, and does not keep it."""
        try:
            self.acquire(fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.release()
        return True
