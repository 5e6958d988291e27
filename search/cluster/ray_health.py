"""Whether the local Ray is alive: without its raylet or its control store nothing in it answers.

Ray itself would notice after some ten seconds, write its log to the terminal and end the process.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress

_VITAL = ("raylet", "gcs_server")
_GRACE_S = 0.5
"""A batch system sends one signal to Ray's processes and to this one; by then this one has received it too."""


class RayLostError(RuntimeError):
    """A process that the local Ray needs has ended."""


def check_alive() -> None:
    """Raises `RayLostError` where the local Ray has lost a vital process; a joined cluster is monitored by Ray."""
    from ray._private import worker

    node = worker._global_node
    if node is None:
        return
    for kind, process in node.dead_processes():
        if kind in _VITAL:
            time.sleep(_GRACE_S)
            raise RayLostError(f"Ray's {kind} has ended ({_cause(process.poll())})")


def _cause(code: int) -> str:
    """Returns what an exit code means; when memory runs out, the system sends SIGKILL."""
    name = f"exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name if code < 0 else name
    return f"{name}, as where memory runs out" if name == "SIGKILL" else name
