"""The lock of a device: trainings share it, a measurement has it alone, and every wait ends.

A fake device with its own key and synchronisation replaces a GPU. For `flock`, two openings of a file in one process
are like those of two processes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from depthweave.trainers import device_lock
from depthweave.trainers.device_lock import UNSHARED, DeviceLock

_GPU, _CPU = torch.device("cuda"), torch.device("cpu")
_LIMIT_S = 20.0


@pytest.fixture
def synchronized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls that wait for the fake GPU; a training checks for measurements at every step."""
    calls: list[str] = []
    monkeypatch.setattr(device_lock, "device_key", lambda device: f"{device.type}-0")
    monkeypatch.setattr(device_lock, "synchronize", lambda device: calls.append(device.type))
    monkeypatch.setattr(device_lock, "_SLICE_S", 0.0)
    return calls


class _Training:
    """Takes steps in a thread until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._lock = DeviceLock(folder, device=_GPU)
        self._stop, self.began = threading.Event(), threading.Event()
        self.steps = 0
        self.waited_s = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self.began.wait(_LIMIT_S)

    def _run(self) -> None:
        with self._lock.shared():
            while not self._stop.is_set():
                self.steps += 1
                self.began.set()
                time.sleep(0.001)
                self.waited_s += self._lock.give_way()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_LIMIT_S)
        assert not self._thread.is_alive()


@pytest.mark.usefixtures("synchronized")
def test_measurement_on_a_gpu_runs_alone_beside_any_number_of_trainings(tmp_path: Path) -> None:
    trainings = [_Training(tmp_path) for _ in range(3)]
    try:
        for _ in range(3):
            with DeviceLock(tmp_path, device=_GPU).exclusive() as waited_s:
                before = [training.steps for training in trainings]
                time.sleep(0.05)
                assert [training.steps for training in trainings] == before
            assert 0.0 <= waited_s < _LIMIT_S
            time.sleep(0.05)
        assert all(now.steps > then for now, then in zip(trainings, before, strict=True)), "they go on afterwards"
    finally:
        for training in trainings:
            training.stop()
    assert all(training.waited_s >= 3 * 0.04 for training in trainings)


def test_device_finishes_its_work_before_it_is_released(synchronized: list[str], tmp_path: Path) -> None:
    lock = DeviceLock(tmp_path, device=_GPU)
    with lock.shared():
        assert lock.give_way() == 0.0
        assert synchronized == [], "nothing waits, so nothing is synchronised"
        with ThreadPoolExecutor(1) as pool:

            def measure() -> list[str]:
                with DeviceLock(tmp_path, device=_GPU).exclusive():
                    return list(synchronized)

            measured = pool.submit(measure)
            while not measured.done():
                lock.give_way()
            assert measured.result(_LIMIT_S)[0] == "cuda"


def test_queued_work_does_not_count_as_waiting(
    synchronized: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = DeviceLock(tmp_path, device=_GPU)
    measuring, done = threading.Event(), threading.Event()

    def measure() -> None:
        measuring.set()
        with DeviceLock(tmp_path, device=_GPU).exclusive():
            done.set()

    with lock.shared(), ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(device_lock, "synchronize", lambda device: time.sleep(0.5))
        measured = pool.submit(measure)
        assert measuring.wait(_LIMIT_S)
        waited_s = 0.0
        while not done.is_set():
            waited_s = lock.give_way()
        measured.result(_LIMIT_S)
    assert 0.0 < waited_s < 0.4


@pytest.mark.usefixtures("synchronized")
def test_device_whose_calls_fail_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(device: torch.device) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"), DeviceLock(tmp_path, device=_GPU).shared():
        monkeypatch.setattr(device_lock, "synchronize", fails)
    with DeviceLock(tmp_path, device=_GPU).exclusive() as waited_s:
        assert waited_s < _LIMIT_S


@pytest.mark.usefixtures("synchronized")
def test_training_that_begins_waits_for_a_running_measurement(tmp_path: Path) -> None:
    with DeviceLock(tmp_path, device=_GPU).exclusive():
        entered = threading.Event()

        def train() -> None:
            with DeviceLock(tmp_path, device=_GPU).shared():
                entered.set()

        thread = threading.Thread(target=train)
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(_LIMIT_S)
    thread.join(_LIMIT_S)


@pytest.mark.usefixtures("synchronized")
def test_two_devices_of_a_machine_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_lock, "device_key", lambda device: f"{device.type}-{device.index}")
    with (
        DeviceLock(tmp_path, device=torch.device("cuda:0")).exclusive(),
        DeviceLock(tmp_path, device=torch.device("cuda:1")).exclusive() as waited_s,
    ):
        assert waited_s < _LIMIT_S


def test_training_on_a_cpu_takes_no_lock(tmp_path: Path) -> None:
    lock = DeviceLock(tmp_path, device=_CPU)
    with DeviceLock(tmp_path, device=_CPU).exclusive(), lock.shared():
        assert lock.give_way() == 0.0


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import os, sys, torch; from depthweave.trainers.device_lock import DeviceLock\n"
        f"with DeviceLock({str(tmp_path)!r}, device=torch.device('cpu')).exclusive():\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with DeviceLock(tmp_path, device=_CPU).exclusive() as waited_s:
        assert waited_s < _LIMIT_S


def test_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "locks", tmp_path / "elsewhere"
    with DeviceLock(folder, device=_CPU).exclusive():
        names = [path.name for path in folder.iterdir()]
    for name in names:
        (folder / name).unlink()
        (folder / name).symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"symbolic link|loop"), DeviceLock(folder, device=_CPU).exclusive():
        pass
    assert not elsewhere.exists()


def test_unshared_device_is_never_waited_for() -> None:
    with UNSHARED.exclusive() as waited_s, UNSHARED.shared():
        assert (waited_s, UNSHARED.give_way()) == (0.0, 0.0)
