"""Files that are either whole or absent: written under another name, then renamed.

A reader, and a crash at any moment, see the old file or the new one and never half of one.
"""

from __future__ import annotations

import os
import posixpath
import uuid
from typing import Any

from pyarrow import fs

TEMPORARY_SUFFIX = ".tmp"
"""Names that end so, or start with a dot, are never read as data."""


def write_whole(filesystem: fs.FileSystem, path: str, data: bytes) -> None:
    """`path` holds exactly `data`, replacing what was there, also after a power cut on a local disk.

    On an object store the rename is a copy and a delete; the copy itself is what appears at once.
    """
    folder, name = posixpath.split(path)
    temporary = posixpath.join(folder, f".{name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    filesystem.create_dir(folder, recursive=True)
    try:
        if isinstance(filesystem, fs.LocalFileSystem):
            _replace_local(path, temporary, data)
        else:
            with filesystem.open_output_stream(temporary) as stream:
                stream.write(data)
            filesystem.move(temporary, path)
    except BaseException:
        _delete_quietly(filesystem, temporary)
        raise


def read_whole(filesystem: fs.FileSystem, path: str) -> bytes:
    """The bytes of a file; `FileNotFoundError` where there is none."""
    with filesystem.open_input_stream(path, compression=None) as stream:
        data: bytes = stream.read()
    return data


def exists(filesystem: fs.FileSystem, path: str) -> bool:
    """Whether a file (not a folder) stands at `path`."""
    info: Any = filesystem.get_file_info(path)
    return bool(info.type == fs.FileType.File)


def _replace_local(path: str, temporary: str, data: bytes) -> None:
    with open(temporary, "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    # The rename itself is durable only once the folder is; Windows cannot open a folder.
    if os.name == "posix":
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _delete_quietly(filesystem: fs.FileSystem, path: str) -> None:
    try:
        filesystem.delete_file(path)
    except OSError:
        return
