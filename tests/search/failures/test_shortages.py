"""What ran out is said in one line with the limit in force, and other errors are left alone."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from depthweave.search.failures import shortages
from depthweave.search.failures.shortages import limits, shortage

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture(autouse=True)
def set_limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the limits that this process seems to have: none but the given ones."""

    def set_to(given: dict[int, int], *, of_group: int | None = None, usable_bytes: int = 2**40) -> None:
        monkeypatch.setattr(
            resource, "getrlimit", lambda kind: (given[kind], given[kind]) if kind in given else _UNLIMITED
        )
        monkeypatch.setattr(shortages, "process_limit", lambda: of_group)
        monkeypatch.setattr(shortages, "usable_memory_bytes", lambda: usable_bytes)

    set_to({})
    return set_to


def _raised(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("allocate", [lambda: np.empty(2**52), lambda: torch.empty(2**50)], ids=["numpy", "torch"])
def test_allocation_that_fails_is_main_memory_that_ran_out(
    allocate: Callable[[], object], set_limits: Callable[..., None]
) -> None:
    error = _raised(allocate)
    line = shortage(error)
    assert line is not None
    assert line.startswith(f"main memory ran out ({type(error).__name__}: ")
    assert line.endswith("): take a smaller batch or model, or end other programs")
    assert "\n" not in line
    set_limits({resource.RLIMIT_AS: 3 * 10**9})
    assert f"{shortage(error)}".endswith(
        "): memory is limited to 3.0 GB of addresses: lift that with `ulimit -v unlimited`"
    )


def test_thread_that_cannot_be_started_names_the_limit_of_processes(
    set_limits: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    error = _raised(threading.Thread(target=print).start)
    set_limits({resource.RLIMIT_NPROC: 50})
    assert shortage(error) == (
        "processes and threads ran out (RuntimeError: can't start new thread): "
        "processes and threads are limited to 50: allow more with `ulimit -u 4096`"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "main memory"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "state.pt"), "open files"),
        (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), "open files"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "processes and threads"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "main memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ..."), "device memory"),
        (MemoryError(), "main memory"),
    ],
)
def test_errors_of_the_system_and_of_libraries_say_what_ran_out(error: Exception, kind: str) -> None:
    assert f"{shortage(error)}".startswith(f"{kind} ran out ({type(error).__name__}")


@pytest.mark.parametrize(
    "error",
    [
        BlockingIOError(errno.EAGAIN, "write could not complete without blocking"),
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x"),
        OSError("no number"),
        ImportError("No module named 'x'"),
        RuntimeError("planted"),
        ValueError("out of memory"),
    ],
)
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert shortage(error) is None


def test_every_low_limit_is_named_and_a_high_one_is_not(set_limits: Callable[..., None]) -> None:
    assert list(limits()) == []
    set_limits({resource.RLIMIT_NPROC: 60_000, resource.RLIMIT_NOFILE: 1_000_000}, of_group=30_000)
    assert list(limits()) == []
    set_limits({resource.RLIMIT_NOFILE: 256}, of_group=100, usable_bytes=10**9)
    assert [line.partition(":")[0] for line in limits()] == [
        "the control group is limited to 100 processes and threads",
        "open files are limited to 256",
        "memory is limited to 1.0 GB",
    ]
