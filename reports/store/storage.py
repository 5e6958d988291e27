"""A folder on any filesystem that pyarrow opens: a local path, `file://`, `s3://`, `gs://`.

Its files are either whole or absent: written under another name, then renamed, so that a reader, and a crash at any
moment, see the old file or the new one and never half of one. Object storage that is away for a while is waited for.
On a disk a name below the folder that is a link is refused: another's files may be behind it.
"""

from __future__ import annotations

import copy
import errno
import logging
import os
import posixpath
import re
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import pyarrow as pa
from pyarrow import fs

from depthweave.spaces.checksums import check_no_link, check_no_links
from depthweave.spaces.regular import check_named, check_regular

TEMPORARY_SUFFIX = ".tmp"
"""Names that end so, or start with a dot, are never read as data."""
PATIENCE_S = 180.0
"""Object storage that has answered before is asked again for so long."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_COPY_BYTES = 8 * 2**20

_MISSPELT = re.compile(r"(s3|gs|gcs|hdfs|abfss?):(?!//[^/])|[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
"""Begins as an address does, and is none. (One letter is a drive.)"""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk. A copy to or from object storage may meet one here, and to wait would not help."""

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class UnreachableError(OSError):
    """Object storage does not answer, one line; says nothing about any file in it."""


class Storage:
    """A folder, by names below it. Missing files are `FileNotFoundError`; what is away for good `UnreachableError`."""

    def __init__(
        self, where: str | os.PathLike[str], *, filesystem: fs.FileSystem | None = None, patient: bool = False
    ) -> None:
        """`filesystem` reads `where` as a path of its own, for a store that pyarrow has no address for.

        `patient`: somebody has reached it, so that it is worth waiting for from the first request on.
        Raises `ValueError`, one line, for an address that pyarrow does not open.
        """
        check_named(where, what="the folder of a run")
        self.where = os.fspath(where).rstrip("/") or "/"
        """As the caller named it, for messages and commands."""
        self.is_local = filesystem is None and "://" not in self.where
        """Whether `root` is a path on a disk."""
        self.before_write: Callable[[], None] | None = None
        """Called before every try to write into object storage; what it raises is raised, and nothing written."""
        self._answered = {"read", "write"} if patient else set()
        self._patience_s = PATIENCE_S
        # Amazon is asked here already where a bucket is.
        self.filesystem, self.root = self._ask(lambda: _opened(self.where, filesystem), kind="open")
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)
        self._folders: set[str] = set()

    def without_retries(self) -> Storage:
        """The same folder for whoever would rather know at once that it is away, and asks before writing himself."""
        other = copy.copy(self)
        other.before_write, other._patience_s = None, 0.0
        return other

    def path(self, name: str) -> str:
        """The path of a file on the filesystem; `ValueError` where the name, or a folder on the way, is a link."""
        if self.is_local:
            place = Path(self.root)
            for part in filter(None, name.split("/")):
                place /= part
                check_no_link(place)
        return f"{self.root}/{name}"

    def address(self, name: str) -> str:
        """What names a folder in it as `where` names this one."""
        address, mark, query = self.where.partition("?")
        return self.path(name) if self.is_local else f"{address.rstrip('/')}/{name}{mark}{query}"

    def check_no_links(self, name: str) -> None:
        """Raises `ValueError` where on a disk the name, or anything below it, is a link."""
        path = self.path(name)
        if self.is_local:
            check_no_links(Path(path))

    def exists(self, name: str) -> bool:
        """Whether a file (not a folder) stands under that name."""
        return bool(self.info(name).type == fs.FileType.File)

    def info(self, name: str) -> fs.FileInfo:
        """Kind, size and time of what stands under that name."""
        return self._ask(lambda: self.filesystem.get_file_info(self.path(name)))

    def files(self, name: str, *, recursive: bool = False) -> list[fs.FileInfo]:
        """The files in a folder; none where there is no such folder. `ValueError` where one of them is a link."""
        selector = fs.FileSelector(self.path(name), allow_not_found=True, recursive=recursive)
        if self.is_local:
            # The selector would follow links, and list what is behind them.
            _check_listed(Path(self.path(name)), recursive=recursive)
        found = self._ask(lambda: self.filesystem.get_file_info(selector))
        return [info for info in found if info.type == fs.FileType.File]

    def read(self, name: str) -> bytes:
        """The bytes of a file."""

        def whole() -> bytes:
            self._check_regular(name)
            with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
                data: bytes = stream.read()
            return data

        return self._ask(whole)

    def write(self, name: str, data: bytes) -> None:
        """The file holds exactly `data`, replacing what was there, also after a power cut on a local disk."""

        def fill(temporary: str) -> None:
            if self.is_local:
                with open(temporary, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            else:
                with self.filesystem.open_output_stream(temporary) as stream:
                    stream.write(data)

        self._replace(name, fill)

    def copy_in(self, path: str | os.PathLike[str], name: str) -> None:
        """The file is a copy of a local one, made in pieces: weights may be larger than memory."""

        def fill(temporary: str) -> None:
            with open(path, "rb") as source, self.filesystem.open_output_stream(temporary) as target:
                shutil.copyfileobj(source, target, _COPY_BYTES)

        self._replace(name, fill)

    def copy_out(self, name: str, path: str | os.PathLike[str]) -> None:
        """A local copy of a file, made in pieces."""

        def fill() -> None:
            self._check_regular(name)
            with (
                self.filesystem.open_input_stream(self.path(name), compression=None) as source,
                open(path, "wb") as target,
            ):
                shutil.copyfileobj(source, target, _COPY_BYTES)

        self._ask(fill)

    def move(self, name: str, to: str) -> None:
        """The file has another name, under which nothing stood."""

        def move() -> None:
            try:
                self.filesystem.move(self.path(name), self.path(to))
            except FileNotFoundError:
                # An earlier try was done, and only its answer lost.
                if self.is_local or not self.exists(to):
                    raise

        self._ask(move, kind="write")

    def delete(self, name: str) -> None:
        """The file is gone; one that is missing is an error on a disk alone."""

        def delete() -> None:
            try:
                self.filesystem.delete_file(self.path(name))
            except FileNotFoundError:
                # An earlier try may have been done, and only its answer lost.
                if self.is_local:
                    raise

        self._ask(delete, kind="write")

    def make_folder(self, name: str) -> None:
        """The folder is there, where the filesystem knows folders."""
        folder = posixpath.dirname(self.path(f"{name}/"))
        if folder not in self._folders or self.is_local:
            self._ask(lambda: self.filesystem.create_dir(folder, recursive=True), kind="write")
            self._folders.add(folder)

    def _check_regular(self, name: str) -> None:
        """A pipe or a device under a name of the run would be read for ever."""
        if self.is_local:
            check_regular(self.path(name))

    def _replace(self, name: str, fill: Callable[[str], None]) -> None:
        """On an object store the rename is a copy and a delete; the copy itself is what appears at once."""
        folder, last = posixpath.split(self.path(name))
        self.make_folder(posixpath.dirname(name))

        def replace() -> None:
            temporary = posixpath.join(folder, f".{last}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
            try:
                fill(temporary)
                if self.is_local:
                    _rename_durably(temporary, self.path(name))
                else:
                    self.filesystem.move(temporary, self.path(name))
            except BaseException:
                _delete_quietly(self.filesystem, temporary)
                raise

        self._ask(replace, kind="write")

    def _ask(self, request: Callable[[], Answer], *, kind: str = "read") -> Answer:
        """The answer; where object storage fails that has answered a request of this kind before, after further tries.

        What was read from may refuse to be written to, and to wait would not help.
        """
        if self.is_local:
            return request()
        deadline, wait_s, told = time.monotonic() + self._patience_s, _FIRST_WAIT_S, False
        while True:
            try:
                if kind == "write" and self.before_write is not None:
                    self.before_write()
                answer = request()
            except FileNotFoundError:
                raise
            except OSError as error:
                if error.errno in DISK_FULL:
                    raise
                reason = str(error).splitlines()[0][:300]
                if kind not in self._answered and "write" not in self._answered:
                    what = "check the address, the credentials, and AWS_ENDPOINT_URL where it is not Amazon's"
                    raise UnreachableError(f"{self.where}: no answer ({reason}): {what}") from None
                if time.monotonic() + wait_s > deadline:
                    raise UnreachableError(f"{self.where}: no answer for {self._patience_s:.0f} s ({reason})") from None
                if not told:
                    logger.warning("%s does not answer: trying again for %.0f s", self.where, self._patience_s)
                told = True
            else:
                self._answered.add(kind)
                return answer
            time.sleep(wait_s)
            wait_s = min(2.0 * wait_s, _LONGEST_WAIT_S)


def _opened(where: str, filesystem: fs.FileSystem | None) -> tuple[fs.FileSystem, str]:
    """The filesystem, and the folder's path on it."""
    if filesystem is not None:
        return filesystem, where
    if _MISSPELT.match(where):
        raise ValueError(f"{where}: not an address: write s3://BUCKET/RUN, say; a folder of that name is ./{where}")
    if "://" not in where:
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(where))
    try:
        opened: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(_with_endpoint(where))
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{where}: not an address that pyarrow opens ({reason})") from None
    return opened


def _with_endpoint(uri: str) -> str:
    """An `s3://` address at the endpoint that the environment names for every program of AWS; pyarrow overlooks it."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint or not uri.startswith("s3://") or "endpoint_override=" in uri:
        return uri
    scheme, _, host = endpoint.rpartition("://")
    query = urlencode({"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"})
    return f"{uri}{'&' if '?' in uri else '?'}{query}"


def _check_listed(folder: Path, *, recursive: bool) -> None:
    """Raises `ValueError` where an entry of the folder is a link; one that is removed meanwhile is none."""
    if recursive:
        check_no_links(folder)
        return
    try:
        with os.scandir(folder) as entries:
            links = [entry.path for entry in entries if entry.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in sorted(links):
        check_no_link(Path(path))


def _rename_durably(temporary: str, path: str) -> None:
    os.replace(temporary, path)
    # The rename itself is durable only once the folder is; Windows cannot open a folder.
    if os.name == "posix":
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _delete_quietly(filesystem: Any, path: str) -> None:
    try:
        filesystem.delete_file(path)
    except OSError:
        return
