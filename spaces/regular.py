"""Opens regular files only, for paths that come from a user or from a downloaded file.

Reading a pipe without a writer, or a terminal, would block for ever, and a device may have no end.
"""

from __future__ import annotations

import io
import os
import stat
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegularError(ValueError):
    """The path is not a regular file; the message is one line."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens the file for reading. Raises `NotRegularError`, or `OSError` as `open` does."""
    # Before it is opened: opening a device may have effects.
    check_regular(path)
    # And afterwards: another file may have taken the name. Without O_NONBLOCK a pipe would block here.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)), "rb")
    try:
        _check(os.fstat(file.fileno()).st_mode, path)
    except BaseException:
        file.close()
        raise
    return file


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raises `NotRegularError` where the path is not a regular file, `OSError` where nothing exists."""
    check_named(path)
    _check(os.stat(path).st_mode, path)


def check_named(path: str | os.PathLike[str], *, what: str = "path") -> None:
    """Raises `ValueError` for an empty path, which most often comes from an unset shell variable."""
    if not os.fspath(path):
        raise ValueError(f"{what} is empty: give a name (is a variable of the shell unset?)")


def read_regular_text(path: str | os.PathLike[str], *, max_characters: int = -1) -> str:
    """Reads the text of a regular UTF-8 file, at most `max_characters`; raises as `open_regular`, or `UnicodeError`."""
    with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
        return file.read(max_characters)


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "not a regular file")
    raise NotRegularError(f"{os.fspath(path)}: is {kind}: give a regular file")
