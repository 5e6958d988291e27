"""Whether Ray still runs: without the raylet of this machine or the control store nothing in it answers.

Ray itself would notice later (a lost raylet after some ten seconds, a lost control store after a minute), write its
log to the terminal and end the process.
"""

from __future__ import annotations

import errno
import signal
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray._private.node import Node

_VITAL = ("raylet", "gcs_server")
_GRACE_S = 0.5
"""A batch system sends one signal to Ray's processes and to this one; by then this one has received it too."""
_CONNECT_LIMIT_S = 2.0
_MAX_SILENCE_S = 40.0
"""A control store that is restarted answers within this time; Ray itself ends the process after 60 s."""
_GONE = (errno.ECONNREFUSED, errno.ENOENT)


class RayLostError(RuntimeError):
    """A process that Ray needs has ended."""


class _Silence:
    """How long the control store of the joined cluster has not answered."""

    def __init__(self) -> None:
        self._address, self._since_s = "", 0.0

    def length_s(self, address: str) -> float:
        """Asks the control store at an address; returns 0 where it answers."""
        now = time.monotonic()
        if address != self._address or _answers(address):
            self._address, self._since_s = address, now
        return now - self._since_s


_silence = _Silence()


def check_alive() -> None:
    """Raises `RayLostError` where Ray has lost a vital process, of a local Ray or of a cluster that was joined."""
    from ray._private import worker

    node = worker._global_node
    if node is None:
        return
    for kind, process in node.dead_processes():
        if kind in _VITAL:
            time.sleep(_GRACE_S)
            raise RayLostError(f"Ray's {kind} has ended ({_cause(process.poll())})")
    if not any(kind in node.all_processes for kind in _VITAL):
        _check_joined(node)


def _check_joined(node: Node) -> None:
    if not _listens(node.raylet_socket_name):
        time.sleep(_GRACE_S)
        raise RayLostError("Ray's raylet on this machine has ended")
    if _silence.length_s(node.gcs_address) > _MAX_SILENCE_S:
        raise RayLostError(f"the Ray cluster at {node.gcs_address} has not answered for {_MAX_SILENCE_S:.0f} s")


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
