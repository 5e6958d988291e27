"""Why a worker failed, in one line, and whose fault it is: the trial's, its node's, or that of the surroundings."""

from __future__ import annotations

import errno
import os
import re

from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

_KILLED = "a SIGKILL looks like that, of the kernel's where memory ran out"
_MAX_REASON = 500
"""Characters of a reason that are kept."""
_UNLOADED = ("failed to import on the worker", "input arguments for this task could not be computed")
"""What Ray says where a worker could not load what it was to run: before the first line of a trial."""
_CANNOT_START = "the worker cannot load what it is to run: "
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception)(?:: .*)?")
"""The line of a traceback that names the exception; it alone is not indented."""
_SURROUNDINGS = (errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EACCES)


def reason_of(error: Exception) -> str:
    """One line that says why a worker failed, of the exception that Ray made of it."""
    cause, text = getattr(error, "cause", None), str(error)
    if any(item in text for item in _UNLOADED):
        return _one_line(f"{_CANNOT_START}{_first_exception(text)}")
    if isinstance(cause, Exception):
        return _one_line(f"{type(cause).__name__}: {cause}")
    lines = [line for line in text.splitlines() if line.strip()]
    if isinstance(error, RayActorError) and not error.actor_init_failed:
        # The process is gone. Lines with a tab say which, and advice follows what happened.
        told = " ".join(line for line in lines if not line.startswith("\t"))
        told = told.partition("Worker exit detail: ")[2] or told
        told = told.partition(" Some common causes")[0]
        # What is seen of a process that had no last word.
        hint = f" ({_KILLED})" if "connection error code 2" in told else ""
        return _one_line(f"the worker died: {told}{hint}")
    if not lines:
        return type(error).__name__
    # Of a traceback the last line names the exception; what Ray says itself begins with what happened, then explains.
    told_by_ray = isinstance(error, RayError) and not isinstance(error, RayActorError | RayTaskError)
    return _one_line(lines[0] if told_by_ray else lines[-1])


def is_node_lost(error: Exception) -> bool:
    """Whether the worker went with its machine, taken back by its owner or broken, or cannot be reached there."""
    if isinstance(error, ActorUnavailableError):
        # The first that is seen of a node that was killed: its sockets close before Ray knows why.
        return True
    return isinstance(error, RayActorError) and (error.preempted or "node has died" in str(error))


def is_of_surroundings(reason: str) -> bool:
    """Whether every other trial would fail of it too: a library that cannot be imported, no file that can be opened."""
    name = reason.partition(":")[0]
    if reason.startswith(_CANNOT_START) or name in ("ImportError", "ModuleNotFoundError", "PermissionError"):
        return True
    return any(os.strerror(number) in reason for number in _SURROUNDINGS)


def is_same_cause(reason: str, other: str) -> bool:
    """Whether two reasons differ in numbers, addresses and paths alone."""
    return _kind_of(reason) == _kind_of(other)


def _kind_of(reason: str) -> str:
    return re.sub(r"0x[0-9a-f]+|\d+(?:\.\d+)?|/\S+", "#", reason)


def _first_exception(text: str) -> str:
    """The exception with which a chain of tracebacks began: those that follow say what it led to."""
    found = [line for line in text.splitlines() if _EXCEPTION.fullmatch(line) and not line.startswith("ray.")]
    return found[0] if found else text.strip().splitlines()[-1]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAX_REASON]
