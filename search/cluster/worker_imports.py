"""What Ray's workers import: this Depthweave and its libraries, never a file that happens to lie in the user's folder.

Ray puts the folder in which its driver was joined at the front of every worker's import path, where a `numpy.py` of the
user's would take the library's place. So Ray is joined from the root of the file system, which holds no modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LISTS = ("PYTHONPATH",)
_FOLDERS = ("TMPDIR", "TMP", "TEMP", "RAY_TMPDIR", "XDG_CACHE_HOME")
"""Variables that processes which start meanwhile would read relative to the root."""


@contextmanager
def outside_user_folder() -> Iterator[None]:
    """Inside, the working folder is the root; what the environment names relative to the user's folder stays named."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        # The folder was deleted under us: there is none to hide, and none to come back to.
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
