"""Within `retained_heap` memory is taken from the system once, used again, and returned at the end."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from depthweave.trainers import measure as measure_module
from depthweave.trainers.heap import retained_heap
from depthweave.trainers.measure import measure
from depthweave.trainers.recipe import Recipe
from tests.trainers.conftest import small_architecture

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep its heap")

_MIB = 1024**2


def _pages_taken(run: Callable[[], None]) -> int:
    """Counts the pages that the system gives this thread within the block."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    run()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def _fill(size_bytes: int) -> None:
    torch.ones(size_bytes, dtype=torch.uint8)


def _settled_pages(size_bytes: int) -> int:
    """Returns the highest count of a few repetitions, after warm-up repetitions for the allocator."""
    for _ in range(30):
        _fill(size_bytes)
    return max(_pages_taken(lambda: _fill(size_bytes)) for _ in range(5))


# By itself glibc gives back 48 MiB each time, and 4 MiB by how the heap happens to lie.
@pytest.mark.parametrize("size_bytes", [4 * _MIB, 48 * _MIB])
def test_retained_heap_takes_memory_from_the_system_once(size_bytes: int) -> None:
    with retained_heap():
        assert _settled_pages(size_bytes) < 10


_RETURNS = """
import os, pathlib, torch
from depthweave.trainers.heap import retained_heap
def resident_mib():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
print(resident_mib())
try:
    with retained_heap():
        torch.ones(256 * 2**20, dtype=torch.uint8)
        print(resident_mib())
        raise KeyError
except KeyError:
    print(resident_mib())
"""


def _answers(script: str) -> list[int]:
    """Returns the numbers that a new process prints.

    A process that has run thousands of tests has gaps of every size, and serves a request from them.
    """
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [int(number) for number in answer.stdout.split()]


def test_retained_heap_returns_free_memory_at_its_end_and_after_an_error() -> None:
    before_mib, within_mib, after_mib = _answers(_RETURNS)
    assert within_mib > before_mib + 200
    assert after_mib < before_mib + 50


_PLACES = """
import sys, torch
from depthweave.trainers import measure
from depthweave.trainers.heap import retained_heap
places = []
run = lambda: places.append(torch.empty(100_000).data_ptr())
with retained_heap():
    for _ in range(20):
        run()
    print(len(set(places[10:])))
    places.clear()
    measure.times_in_turn([run], device=torch.device("cpu"), limit_s=0.05, min_rounds=20)
print(len(set(places)))
"""


def test_timed_runs_allocate_at_other_addresses_in_every_round() -> None:
    without, within = _answers(_PLACES)
    assert without < 4, "a kept heap gives the same place again"
    assert within > 4


def test_measure_times_runs_within_a_retained_heap(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    times_in_turn = measure_module.times_in_turn

    def spy(*args: Any, **kwargs: Any) -> Any:
        taken.append(_settled_pages(48 * _MIB))
        return times_in_turn(*args, **kwargs)

    monkeypatch.setattr(measure_module, "times_in_turn", spy)
    plain = small_architecture("none")
    measure(plain, reference=plain, recipe=recipe, device=torch.device("cpu"), time_limit_s=0.0)
    assert len(taken) == 2, "forward passes and training steps"
    assert max(taken) < 10
