"""Keeps freed memory in the process while runs are timed, so that the next run uses it again.

A C library returns memory to the system once enough is free at the end of the heap, and the next run then requests it
again, page by page. Whether that happens depends on the layout of the heap when models are made: the same model took
between 0 and 3,100 pages a forward pass, which cost up to a tenth of its time.
"""

from __future__ import annotations

import ctypes
import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Names and values of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_NEVER = -1
_MMAP_MAX = 65_536
"""Default of glibc."""
_MMAP_THRESHOLD_BYTES = 32 * 1024**2
"""Upper end of glibc's own threshold, which grows with the largest freed block until it is set by hand."""

_PADS, _PAD_BYTES = 8, 2**18


@contextmanager
def shifted_allocations(draw: random.Random) -> Iterator[None]:
    """Shifts the addresses of what is allocated within the block, by holding blocks of random sizes.

    The relative position of activations in the caches changes a run's time by up to 2 %. Without shifts it would be
    fixed for a whole measurement.
    """
    blocks = [torch.empty(draw.randrange(_PAD_BYTES), dtype=torch.uint8) for _ in range(_PADS)]
    del blocks[draw.randrange(2) :: 2]
    yield
    blocks.clear()


@contextmanager
def retained_heap() -> Iterator[None]:
    """Keeps freed memory in the process within the block, and returns it to the system at the end.

    It affects the whole process, and does nothing without glibc. A whole training gains nothing by it
    (docs/log/training.md).
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, _MMAP_MAX)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _MMAP_THRESHOLD_BYTES)
        libc.malloc_trim(ctypes.c_size_t(0))
