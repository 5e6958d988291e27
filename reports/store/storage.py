"""A folder on any filesystem that pyarrow opens: a local path, `file://`, `s3://`, `gs://`.

A file is written under a temporary name and then renamed. So a reader, also after a crash, finds the old file or the
new one and never a part of one. Requests to object storage are retried for a while. On a disk a link below the folder
is refused, because it may lead to files of others.
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
"""Files with this suffix, or with a leading dot, are never read as data."""
PATIENCE_S = 180.0
"""Object storage that has answered before is retried for so long."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_COPY_BYTES = 8 * 2**20

_INCOMPLETE_ADDRESS = re.compile(r"(s3|gs|gcs|hdfs|abfss?):(?!//[^/])|[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
"""Matches text that begins like an address and is not one. (A single letter is a drive.)"""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk. A copy to or from object storage may meet one on this machine; a retry would not help."""

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class UnreachableError(OSError):
    """Object storage does not answer. The message is one line, and nothing follows for any file in the storage."""


class Storage:
    """A folder whose files are accessed by their names in it.

    A missing file raises `FileNotFoundError`, storage that does not answer `UnreachableError`.
    """

    def __init__(
        self, where: str | os.PathLike[str], *, filesystem: fs.FileSystem | None = None, patient: bool = False
    ) -> None:
        """With `filesystem`, `where` is a path on it, for storage that pyarrow has no address for.

        `patient`: the storage is known to be reachable, so that even the first request is retried.
        Raises `ValueError`, one line, for an address that pyarrow does not open.
        """
        check_named(where, what="the folder of a run")
        self.where = os.fspath(where).rstrip("/") or "/"
        """The folder as the caller named it, for messages and commands."""
        self.is_local = filesystem is None and "://" not in self.where
        """Whether `root` is a path on a disk."""
        self.before_write: Callable[[], None] | None = None
        """Called before every attempt to write into object storage. If it raises, nothing is written."""
        self._answered = {"read", "write"} if patient else set()
        self._patience_s = PATIENCE_S
        # For a bucket of Amazon this sends a request already.
        self.filesystem, self.root = self._ask(lambda: _opened(self.where, filesystem), kind="open")
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)
        self._folders: set[str] = set()

    def without_retries(self) -> Storage:
        """Returns the same folder without retries and without `before_write`."""
        other = copy.copy(self)
        other.before_write, other._patience_s = None, 0.0
        return other

    def path(self, name: str) -> str:
        """Returns the path of a file on the filesystem; raises `ValueError` where it or a folder above it is a link."""
        if self.is_local:
            path = Path(self.root)
            for part in filter(None, name.split("/")):
                path /= part
                check_no_link(path)
        return f"{self.root}/{name}"

    def address(self, name: str) -> str:
        """Returns the address of a folder below this one, in the form of `where`."""
        address, mark, query = self.where.partition("?")
        return self.path(name) if self.is_local else f"{address.rstrip('/')}/{name}{mark}{query}"

    def check_no_links(self, name: str) -> None:
        """Raises `ValueError` where the storage is a disk and the name, or anything below it, is a link."""
        path = self.path(name)
        if self.is_local:
            check_no_links(Path(path))

    def exists(self, name: str) -> bool:
        """Returns whether there is a file (not a folder) of that name."""
        return bool(self.info(name).type == fs.FileType.File)

    def info(self, name: str) -> fs.FileInfo:
        """Returns kind, size and time of the file or folder of that name."""
        return self._ask(lambda: self.filesystem.get_file_info(self.path(name)))

    def files(self, name: str, *, recursive: bool = False) -> list[fs.FileInfo]:
        """Returns the files of a folder, none where it does not exist; raises `ValueError` for a link among them."""
        selector = fs.FileSelector(self.path(name), allow_not_found=True, recursive=recursive)
        if self.is_local:
            # The selector would follow links.
            _check_listed(Path(self.path(name)), recursive=recursive)
        listed = self._ask(lambda: self.filesystem.get_file_info(selector))
        return [info for info in listed if info.type == fs.FileType.File]

    def folders(self, name: str) -> list[str]:
        """Returns the names of the folders directly in a folder, none where it does not exist."""
        selector = fs.FileSelector(self.path(name), allow_not_found=True)
        listed = self._ask(lambda: self.filesystem.get_file_info(selector))
        return [info.base_name for info in listed if info.type == fs.FileType.Directory]

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file."""

        def whole() -> bytes:
            self._check_regular(name)
            with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
                data: bytes = stream.read()
            return data

        return self._ask(whole)

    def write(self, name: str, data: bytes) -> None:
        """Replaces a file with `data`, durably on a local disk: a power cut afterwards does not undo it."""

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
        """Replaces a file with a copy of a local one, in pieces: weights may be larger than memory."""

        def fill(temporary: str) -> None:
            with open(path, "rb") as source, self.filesystem.open_output_stream(temporary) as target:
                shutil.copyfileobj(source, target, _COPY_BYTES)

        self._replace(name, fill)

    def copy_out(self, name: str, path: str | os.PathLike[str]) -> None:
        """Copies a file to a local path, in pieces."""

        def fill() -> None:
            self._check_regular(name)
            with (
                self.filesystem.open_input_stream(self.path(name), compression=None) as source,
                open(path, "wb") as target,
            ):
                shutil.copyfileobj(source, target, _COPY_BYTES)

        self._ask(fill)

    def move(self, name: str, to: str) -> None:
        """Renames a file; there is no file of the new name."""

        def move() -> None:
            try:
                self.filesystem.move(self.path(name), self.path(to))
            except FileNotFoundError:
                # An earlier attempt succeeded and only its response was lost.
                if self.is_local or not self.exists(to):
                    raise

        self._ask(move, kind="write")

    def delete(self, name: str) -> None:
        """Deletes a file; a missing file is an error on a disk only."""

        def delete() -> None:
            try:
                self.filesystem.delete_file(self.path(name))
            except FileNotFoundError:
                # An earlier attempt may have succeeded and only its response been lost.
                if self.is_local:
                    raise

        self._ask(delete, kind="write")

    def make_folder(self, name: str) -> None:
        """Creates a folder, where the filesystem has folders."""
        folder = posixpath.dirname(self.path(f"{name}/"))
        if folder not in self._folders or self.is_local:
            self._ask(lambda: self.filesystem.create_dir(folder, recursive=True), kind="write")
            self._folders.add(folder)

    def _check_regular(self, name: str) -> None:
        """Raises `ValueError` for a pipe or a device, which could be read forever."""
        if self.is_local:
            check_regular(self.path(name))

    def _replace(self, name: str, fill: Callable[[str], None]) -> None:
        """Writes a temporary file and renames it. In object storage a rename is an atomic copy and a delete."""
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

    def _ask(self, request: Callable[[], Result], *, kind: str = "read") -> Result:
        """Returns the response, after retries where object storage has answered a request of this kind before.

        Storage that was read from may refuse to be written to, and then a retry would not help.
        """
        if self.is_local:
            return request()
        deadline, wait_s, warned = time.monotonic() + self._patience_s, _FIRST_WAIT_S, False
        while True:
            try:
                if kind == "write" and self.before_write is not None:
                    self.before_write()
                result = request()
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
                if not warned:
                    logger.warning("%s does not answer: trying again for %.0f s", self.where, self._patience_s)
                warned = True
            else:
                self._answered.add(kind)
                return result
            time.sleep(wait_s)
            wait_s = min(2.0 * wait_s, _LONGEST_WAIT_S)


def _opened(where: str, filesystem: fs.FileSystem | None) -> tuple[fs.FileSystem, str]:
    """Returns the filesystem and the folder's path on it."""
    if filesystem is not None:
        return filesystem, where
    if _INCOMPLETE_ADDRESS.match(where):
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
    """Returns an `s3://` address with the endpoint of the environment variables of AWS, which pyarrow ignores."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint or not uri.startswith("s3://") or "endpoint_override=" in uri:
        return uri
    scheme, _, host = endpoint.rpartition("://")
    query = urlencode({"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"})
    return f"{uri}{'&' if '?' in uri else '?'}{query}"


def _check_listed(folder: Path, *, recursive: bool) -> None:
    """Raises `ValueError` where an entry of the folder is a link; one that was removed meanwhile is ignored."""
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
