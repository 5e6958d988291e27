"""The version of this code, and how the code is sent to workers that lack it.

A hash of the source goes beside the version number: two checkouts may have the same number and different source, and
trials of different source cannot be compared.
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

_PACKAGES = ("spaces", "trainers", "reports", "search")
_HASH_DIGITS = 8


class CodeVersion(NamedTuple):
    """The version of Depthweave in a process."""

    version: str
    """Version of the installed distribution; empty where a driver sent only the files."""
    source: str
    """Hash of the package's source, the same on every machine."""

    def __str__(self) -> str:
        return f"Depthweave {self.version or 'as sent'}" + (f" (source {self.source})" if self.source else "")


def code_version() -> CodeVersion:
    """Returns the version of the code in this process."""
    digest = hashlib.sha256()
    for package, folder in _folders():
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode())
            # A checkout on another system may have other line ends.
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    try:
        number = version("depthweave")
    except PackageNotFoundError:
        number = ""
    return CodeVersion(number, digest.hexdigest()[:_HASH_DIGITS])


@contextmanager
def packed_source() -> Iterator[Path]:
    """Yields a temporary folder `depthweave` with the files of this package, for Ray to send."""
    with scratch("ship") as folder:
        root = folder / "depthweave"
        for package, source in _folders():
            shutil.copytree(source, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield root


def _folders() -> Iterator[tuple[str, Path]]:
    for package in _PACKAGES:
        yield package, Path(str(import_module(f"depthweave.{package}").__file__)).parent
