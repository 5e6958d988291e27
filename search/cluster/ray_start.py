"""Starts Ray on this machine or joins one, and turns every failure into one line that says what to change.

Where memory or processes are limited, Ray's core aborts the process that starts it, or hangs with the interpreter's
lock held so that no Python code of the process runs. So a small watcher process waits until Ray is up. If this process
ends or hangs, the watcher prints the line in its place, and kills it after a time limit.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from depthweave.search.failures.shortages import limits

START_LIMIT_S = 180.0
"""A start takes ten seconds, and a minute on a busy machine."""
_NODE_LIMIT_S = 90.0
"""For Ray's node to come up once its processes run."""
_NODE_POLL_S = 0.2
_TRIES = 3

_WATCHER = """
import os, select, signal, sys
pid, limit_s, ended, slow = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
ready = select.select([0], [], [], limit_s)[0]
if not ready:
    os.write(2, (slow + "\\n").encode())
    os.kill(pid, signal.SIGKILL)
elif not os.read(0, 1):
    os.write(2, (ended + "\\n").encode())
"""


class RayStartError(ValueError):
    """Ray cannot start here; the message is one line."""


@contextmanager
def starting(*, limit_s: float = START_LIMIT_S) -> Iterator[None]:
    """Ray is started inside. Raises `RayStartError`; if this process ends or hangs, the watcher prints the line."""
    try:
        advice = _advice()
        ended = f"this process was ended while Ray started: {advice}"
        slow = f"Ray did not start within {limit_s:.0f} s: {advice}"
        with _quiet_core(ended=ended, slow=slow, limit_s=limit_s):
            yield
    # Any error: sockets, folders, users and limits fail with exceptions of Ray and of Python.
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise RayStartError(f"Ray cannot start on this machine ({cause}): {_advice()}") from error


@contextmanager
def joining(address: str, *, advice: str, limit_s: float = START_LIMIT_S) -> Iterator[None]:
    """A running Ray is joined inside: its core prints nothing, and if it ends or hangs this process, a line says so."""
    ended = f"--address {address}: this process was ended while it joined the Ray cluster: {advice}"
    slow = f"--address {address}: the Ray cluster was not joined within {limit_s:.0f} s: {advice}"
    with _quiet_core(ended=ended, slow=slow, limit_s=limit_s):
        yield


@contextmanager
def shutdown_on_error() -> Iterator[None]:
    """Shuts Ray down where its start fails, so that no process is left behind."""
    import ray

    try:
        yield
    except BaseException:
        with suppress(Exception):
            ray.shutdown()
        raise


def start_patiently(start: Callable[[], object]) -> None:
    """Calls `start`, which starts Ray: waits longer for Ray's node than Ray does, and starts a node that ended again.

    Ray's node waits a fixed time for its agents to load, then ends. That is too short on a busy machine or a cold disk.
    The next start finds their files in memory.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            with _patient():
                start()
            return
        except _NodeEndedError as error:
            error.node.kill_all_processes(check_alive=False)
            if not tries_left:
                raise RuntimeError(f"Ray's node ended while it started, {_TRIES} times") from None


class _NodeEndedError(Exception):
    """Not a `RuntimeError`, after which Ray would look for the node again."""

    def __init__(self, node: Any) -> None:
        super().__init__("Ray's node ended while it started")
        self.node = node


@contextmanager
def _patient() -> Iterator[None]:
    """Inside, Ray waits longer for a node that is alive, and not for one that ended. Its own 30 s cannot be set."""
    from ray._private import services
    from ray._private.node import Node

    get_former, start_former = services.get_node, Node.start_raylet
    started: list[Any] = []

    def start_raylet(node: Any, *given: Any, **named: Any) -> None:
        start_former(node, *given, **named)
        started.append(node)

    def get_node(*given: Any) -> Any:
        deadline = time.monotonic() + _NODE_LIMIT_S
        while True:
            try:
                return get_former(*given)
            except RuntimeError:
                if started and _has_ended(started[-1]):
                    raise _NodeEndedError(started[-1]) from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(_NODE_POLL_S)

    services.get_node, Node.start_raylet = get_node, start_raylet
    try:
        yield
    finally:
        services.get_node, Node.start_raylet = get_former, start_former


def _has_ended(node: Any) -> bool:
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    return any(kind == PROCESS_TYPE_RAYLET for kind, _ in node.dead_processes())


@contextmanager
def _quiet_core(*, ended: str, slow: str, limit_s: float) -> Iterator[None]:
    """Inside, Ray's core prints nothing; the watcher prints one of the lines if this process ends or hangs."""
    with _discarded_stderr() as terminal, _watcher(terminal, ended=ended, slow=slow, limit_s=limit_s):
        yield


@contextmanager
def _discarded_stderr() -> Iterator[int | None]:
    """Discards standard error, above all the stack traces of Ray's core; yields a descriptor of the original."""
    try:
        terminal = os.dup(2)
    except OSError:
        # Standard error was closed.
        yield None
        return
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()
    with tempfile.TemporaryFile() as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield terminal
        finally:
            with suppress(AttributeError, OSError, ValueError):
                sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


@contextmanager
def _watcher(terminal: int | None, *, ended: str, slow: str, limit_s: float) -> Iterator[None]:
    if terminal is None:
        yield
        return
    lines = [f"error: {ended}", f"error: {slow}"]
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCHER, str(os.getpid()), str(limit_s), *lines],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        # In its own session: Ctrl-C is meant for the process that it watches.
        start_new_session=True,
    )
    assert watcher.stdin is not None
    try:
        yield
    finally:
        with suppress(OSError):
            watcher.stdin.write(b"1")
            watcher.stdin.flush()
        watcher.stdin.close()
        watcher.wait()


def _advice() -> str:
    """Returns what to change: the limits in force here among those that Ray is known to fail with, if any."""
    found = [*limits(), *_places()]
    if not found:
        found = [
            "set RAY_TMPDIR to a writable folder with free space, and check the limits of this shell (`ulimit -a`); "
            "if the machine is busy, try again later"
        ]
    return "; ".join(found)


def _places() -> Iterator[str]:
    if "HOME" not in os.environ:
        with suppress(KeyError):
            pwd.getpwuid(os.getuid())
            return
        yield f"user {os.getuid()} has no home folder: set HOME to a writable folder"
    port = os.environ.get("RAY_GCS_SERVER_PORT")
    if port:
        yield f"RAY_GCS_SERVER_PORT is {port}, which may be taken: unset it"
