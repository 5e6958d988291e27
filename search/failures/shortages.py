"""Memory, processes or files that ran out in this process: what is limited for it, and what to change."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator

from depthweave.trainers.allowance import process_limit, usable_memory_bytes

_FEW_PROCESSES = 1000
_FEW_FILES = 1024
_LITTLE_BYTES = 2 * 10**9
"""Limits below these are named where something ran out."""

_ADVICE = {
    "main memory": "take a smaller batch or model, or end other programs",
    "device memory": "take a smaller batch or model",
    "processes and threads": "check the limits of this shell (`ulimit -u`) and of its container (pids.max)",
    "open files": "check the limits of this shell (`ulimit -n`)",
}
"""What may run out, and what to do where no limit of this process is known to be the cause."""
_ERRNOS = {
    errno.ENOMEM: "main memory",
    errno.EAGAIN: "processes and threads",
    errno.EMFILE: "open files",
    errno.ENFILE: "open files",
}
_MESSAGES = {
    "can't start new thread": "processes and threads",
    "failed to map segment from shared object": "main memory",
    "DefaultCPUAllocator": "main memory",
    "out of memory": "device memory",
}
"""Parts of the messages of Python, the dynamic linker and torch, which have no exception of their own."""
_MAX_CAUSE = 300


def limits() -> Iterator[str]:
    """Yields each low limit of this process, with what to do."""
    memory, _ = resource.getrlimit(resource.RLIMIT_AS)
    if memory != resource.RLIM_INFINITY:
        yield f"memory is limited to {memory / 1e9:.1f} GB of addresses: lift that with `ulimit -v unlimited`"
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if processes != resource.RLIM_INFINITY and processes < _FEW_PROCESSES:
        yield f"processes and threads are limited to {processes}: allow more with `ulimit -u 4096`"
    of_group = process_limit()
    if of_group is not None and of_group < _FEW_PROCESSES:
        yield (
            f"the control group is limited to {of_group} processes and threads: allow the container or job more "
            "(pids.max, `docker run --pids-limit`)"
        )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < _FEW_FILES:
        yield f"open files are limited to {files}: allow more with `ulimit -n 4096`"
    usable = usable_memory_bytes()
    if usable < _LITTLE_BYTES:
        yield f"memory is limited to {usable / 1e9:.1f} GB: ask for 2 GB or more"


def shortage(error: BaseException) -> str | None:
    """Returns one line that says what ran out and what to change; `None` for an error of another kind."""
    kind = _kind_of(error)
    if kind is None:
        return None
    cause = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")[:_MAX_CAUSE]
    found = [] if kind == "device memory" else list(limits())
    return f"{kind} ran out ({cause}): {'; '.join(found) or _ADVICE[kind]}"


def _kind_of(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return "main memory"
    if isinstance(error, OSError):
        if error.errno == errno.EAGAIN and os.strerror(errno.EAGAIN) not in str(error):
            # A terminal that does not block has the same number and another message.
            return None
        return _ERRNOS.get(error.errno or 0)
    if isinstance(error, RuntimeError | ImportError):
        text = str(error)
        return next((kind for part, kind in _MESSAGES.items() if part in text), None)
    return None
