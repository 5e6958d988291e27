"""Whether the local Ray still lives: without its raylet or its control store nothing answers any more.

Ray itself notices after some ten seconds, writes its log to the terminal and ends the process.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress

_VITAL = ("raylet", "gcs_server")
_GRACE_S = 0.5
"""A batch system ends Ray's processes and this one by the same signal, in any order: by then it has come."""


class RayLostError(RuntimeError):
    """A process that the local Ray cannot do without has ended."""


def check_alive() -> None:
    """Raises `RayLostError` where the local Ray has lost a vital process; of a cluster that was joined Ray tells."""
    from ray._private import worker

    node = worker._global_node
    if node is None:
        return
    for kind, process in node.dead_processes():
        if kind in _VITAL:
            time.sleep(_GRACE_S)
            raise RayLostError(f"Ray's {kind} has ended ({_cause(process.poll())})")


def _cause(code: int) -> str:
    """What an exit code says: where memory runs out, the system sends SIGKILL."""
    name = f"exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name if code < 0 else name
    return f"{name}, as where memory runs out" if name == "SIGKILL" else name
