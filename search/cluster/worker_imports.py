"""Keeps the user's folder out of the import path of Ray's workers.

Ray puts the driver's working folder at the front of every worker's import path, where a `numpy.py` of the user would
replace the library. So Ray is joined from the root of the file system, which holds no modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LISTS = ("PYTHONPATH",)
_FOLDERS = ("TMPDIR", "TMP", "TEMP", "RAY_TMPDIR", "XDG_CACHE_HOME")
"""Variables with paths that a process started meanwhile would read relative to the root."""


@contextmanager
def outside_user_folder() -> Iterator[None]:
    """Inside, the working folder is the root, and relative paths in the environment are absolute."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        # The working folder was deleted: there is none to leave and none to return to.
        yield
        return
    former = {name: os.environ[name] for name in (*_LISTS, *_FOLDERS) if os.environ.get(name)}
    for name, value in former.items():
        parts = value.split(os.pathsep) if name in _LISTS else [value]
        os.environ[name] = os.pathsep.join(map(os.path.abspath, parts))
    os.chdir(os.path.abspath(os.sep))
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.chdir(here)
        os.environ.update(former)
