"""Where the memory of runs that are timed comes from: freed memory stays with the process, and is used again.

A C library gives memory back to the system once enough of it lies free at the end of the heap, and the next run then
takes it anew, page by page. Whether that happens depends on how the heap happens to lie when models are made: one and
the same model took between 0 and 3,100 pages a forward pass, and up to a tenth of its time with them.
"""

from __future__ import annotations

import ctypes
import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_NEVER = -1
_MMAP_MAX = 65_536
"""glibc's own."""
_MMAP_THRESHOLD_BYTES = 32 * 1024**2
"""Where glibc's own threshold, which follows the largest block that was freed, ends. Once set it follows no more."""

_PADS, _PAD_BYTES = 8, 2**18


@contextmanager
def shifted_allocations(draw: random.Random) -> Iterator[None]:
    """What is made within lies elsewhere than before: between blocks of some sizes that are held meanwhile.

    How activations lie to each other in the caches is worth 2 % of a run's time, and would else be dealt once.
    """
    blocks = [torch.empty(draw.randrange(_PAD_BYTES), dtype=torch.uint8) for _ in range(_PADS)]
    del blocks[draw.randrange(2) :: 2]
    yield
    blocks.clear()


@contextmanager
def retained_heap() -> Iterator[None]:
    """Within it freed memory stays with the process; at the end what is free goes back to the system.

    Holds for the whole process. Only glibc can do it; elsewhere nothing is done. Not for a whole training: tensors of
    many sizes leave gaps behind, and the heap of twelve blocks with averages grew by 10 MB a step.
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
