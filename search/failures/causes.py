"""Why a worker failed, in one line, and whose fault it is: the trial's, its node's or the workers' environment's."""

from __future__ import annotations

import errno
import os
import re

from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

_KILLED = "typical of a SIGKILL, which the kernel sends where memory runs out"
_MAX_REASON = 500
"""Characters of a reason that are kept."""
_NOT_LOADED = ("failed to import on the worker", "input arguments for this task could not be computed")
"""Parts of Ray's messages where a worker could not load its task, before the first line of a trial."""
_CANNOT_START = "the worker cannot load what it is to run: "
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception)(?:: .*)?")
"""The line of a traceback that names the exception. It is the only one without indentation."""
_ENVIRONMENT_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EACCES, errno.EAGAIN)
_NO_THREAD = "can't start new thread"


def reason_of(error: Exception) -> str:
    """Returns one line that says why a worker failed, from Ray's exception."""
    cause, text = getattr(error, "cause", None), str(error)
    if any(item in text for item in _NOT_LOADED):
        return _one_line(f"{_CANNOT_START}{_first_exception(text)}")
    if isinstance(cause, Exception):
        return _one_line(f"{type(cause).__name__}: {cause}")
    lines = [line for line in text.splitlines() if line.strip()]
    if isinstance(error, RayActorError) and not error.actor_init_failed:
        # The process has ended. Lines with a tab identify it, and advice follows the description.
        detail = " ".join(line for line in lines if not line.startswith("\t"))
        detail = detail.partition("Worker exit detail: ")[2] or detail
        detail = detail.partition(" Some common causes")[0]
        hint = f" ({_KILLED})" if "connection error code 2" in detail else ""
        return _one_line(f"the worker died: {detail}{hint}")
    if not lines:
        return type(error).__name__
    # The last line of a traceback names the exception. Ray's own messages begin with the fault and explain it after.
    is_rays_own = isinstance(error, RayError) and not isinstance(error, RayActorError | RayTaskError)
    return _one_line(lines[0] if is_rays_own else lines[-1])


def is_node_lost(error: Exception) -> bool:
    """Returns whether the worker's machine was taken back or broke down, or cannot be reached."""
    if isinstance(error, ActorUnavailableError):
        # The first sign of a killed node: its sockets close before Ray knows why.
        return True
    return isinstance(error, RayActorError) and (error.preempted or "node has died" in str(error))


def is_environment_fault(reason: str) -> bool:
    """Returns whether every other trial would fail too.

    A library cannot be imported, no file can be opened, or no process or thread can be started.
    """
    name = reason.partition(":")[0]
    if reason.startswith(_CANNOT_START) or name in ("ImportError", "ModuleNotFoundError", "PermissionError"):
        return True
    return _NO_THREAD in reason or any(os.strerror(number) in reason for number in _ENVIRONMENT_ERRNOS)


def is_same_cause(reason: str, other: str) -> bool:
    """Returns whether two reasons differ only in numbers, addresses and paths."""
    return _pattern_of(reason) == _pattern_of(other)


def _pattern_of(reason: str) -> str:
    return re.sub(r"0x[0-9a-f]+|\d+(?:\.\d+)?|/\S+", "#", reason)


def _first_exception(text: str) -> str:
    """Returns the exception that a chain of tracebacks began with. The later ones are its consequences."""
    found = [line for line in text.splitlines() if _EXCEPTION.fullmatch(line) and not line.startswith("ray.")]
    return found[0] if found else text.strip().splitlines()[-1]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAX_REASON]
