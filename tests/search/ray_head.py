"""A Ray of one node in a process of its own, for tests that need a cluster to join."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

_BEGIN = """
import logging, sys
import ray
# Its own, whatever other tests have begun beside it.
node = ray.init(address="local", num_cpus={num_cpus}, object_store_memory={object_store_bytes}, include_dashboard=False,
                log_to_driver=False, logging_level=logging.ERROR)
"""
_STAND = """
print(node.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""
_TRIES = 3
"""On a machine that is busy Ray's own patience may run out."""


@contextmanager
def ray_head(
    *,
    num_cpus: int,
    object_store_bytes: int | None = None,
    then: str = "",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[str]:
    """The address of a running Ray; it ends with the block.

    `then` is Python that its process runs before it says the address, `ray` imported; `environment` (this process's
    where absent) and `folder` are those of that process, and so of the workers.
    """
    script = _BEGIN.format(num_cpus=num_cpus, object_store_bytes=object_store_bytes) + then + _STAND
    with ExitStack() as stack:
        for _ in range(_TRIES):
            head = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script],
                    env=environment,
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            assert head.stdin is not None
            assert head.stdout is not None
            address = head.stdout.readline().strip()
            if address:
                break
        else:
            raise AssertionError("Ray did not start")
        try:
            yield address
        finally:
            head.stdin.close()
            head.wait(timeout=60)
