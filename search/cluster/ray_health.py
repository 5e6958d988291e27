"""Whether Ray still runs: without the raylet of this machine or the control store nothing in it answers.

Ray itself would notice a lost raylet after some ten seconds and a lost control store after a minute, write its log to
the terminal and end the process.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._private.node import Node

_VITAL = ("raylet", "gcs_server")
_GRACE_S = 0.5
"""A batch system sends one signal to Ray's processes and to this one; by then this one has received it too."""
_CONNECT_LIMIT_S = 2.0
_PROBE_S = 1.0
_PATIENCE_OF_RAY = ("RAY_gcs_rpc_server_reconnect_timeout_s", 60.0)
"""How long Ray's core waits for a control store that may be restarted, before it ends the process."""
_SHARE_OF_PATIENCE = 0.75
_GONE = (errno.ECONNREFUSED, errno.ENOENT)
_EXIT_CODE = 2


class RayLostError(RuntimeError):
    """A process that Ray needs has ended."""


def check_alive() -> None:
    """Raises `RayLostError` where a local Ray has lost a vital process, or a joined one its raylet on this machine."""
    from ray._private import worker

    node = worker._global_node
    if node is None:
        return
    for kind, process in node.dead_processes():
        if kind in _VITAL:
            time.sleep(_GRACE_S)
            raise RayLostError(f"Ray's {kind} has ended ({_cause(process.poll())})")
    if _is_joined(node) and not _listens(node.raylet_socket_name):
        time.sleep(_GRACE_S)
        raise RayLostError("Ray's raylet on this machine has ended")


@contextmanager
def ended_when_silent() -> Iterator[None]:
    """Inside, this process ends with exit code 2 and one line where the joined cluster's control store stays silent.

    Ray's core waits for it in calls that no exception interrupts. All that was finished is saved by then.
    """
    from ray._private import worker

    stop = threading.Event()
    threading.Thread(target=_end_when_silent, args=(worker._global_node.gcs_address, stop), daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _end_when_silent(address: str, stop: threading.Event) -> None:
    name, usual_s = _PATIENCE_OF_RAY
    limit_s = _SHARE_OF_PATIENCE * float(os.environ.get(name) or usual_s)
    answered_s = time.monotonic()
    while not stop.wait(_PROBE_S):
        if _answers(address):
            answered_s = time.monotonic()
        elif time.monotonic() - answered_s > limit_s:
            line = (
                f"error: the Ray cluster at {address} has not answered for {limit_s:.0f} s; what was finished is kept: "
                "once it answers, continue with `depthweave search --resume --out RUN`, or with the same `confirm` or "
                "`train`\n"
            )
            with suppress(OSError):
                os.write(2, line.encode())
            os._exit(_EXIT_CODE)


def _is_joined(node: Node) -> bool:
    return not any(kind in node.all_processes for kind in _VITAL)


def _listens(path: str) -> bool:
    """Returns whether a process listens on the socket; true where this cannot be known."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_LIMIT_S)
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno not in _GONE
    return True


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_LIMIT_S).close()
    except OSError:
        return False
    return True


def _cause(code: int) -> str:
    """Returns what an exit code means; when memory runs out, the system sends SIGKILL."""
    name = f"exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name if code < 0 else name
    return f"{name}, as where memory runs out" if name == "SIGKILL" else name
