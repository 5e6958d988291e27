"""Which Depthweave this is, and how it is sent to workers that lack it.

The source itself is named beside the version: two checkouts of one version are two editions, and trials of two
editions are no comparison.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from depthweave.search.scratch import scratch

_ROOMS = ("spaces", "trainers", "reports", "search")
_SHOWN = 8


class Edition(NamedTuple):
    """Which Depthweave."""

    version: str
    """Of the installed distribution; empty where a driver sent the files alone."""
    source: str
    """Hash of the package's source: the same wherever the same files are."""

    def __str__(self) -> str:
        return f"Depthweave {self.version or 'as sent'}" + (f" (source {self.source})" if self.source else "")


def edition() -> Edition:
    """This process's."""
    digest = hashlib.sha256()
    for room, folder in _folders():
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{room}/{path.relative_to(folder).as_posix()}\n".encode())
            # As a checkout on another system may have other line ends.
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    try:
        number = version("depthweave")
    except PackageNotFoundError:
        number = ""
    return Edition(number, digest.hexdigest()[:_SHOWN])


@contextmanager
def packed() -> Iterator[Path]:
    """A folder `depthweave` with this package's files, for Ray to send; it goes when the context ends."""
    with scratch("ship") as folder:
        whole = folder / "depthweave"
        for room, source in _folders():
            shutil.copytree(source, whole / room, ignore=shutil.ignore_patterns("__pycache__"))
        yield whole


def _folders() -> Iterator[tuple[str, Path]]:
    for room in _ROOMS:
        yield room, Path(str(import_module(f"depthweave.{room}").__file__)).parent
