"""Checksums of files, and checks that a path is a plain file: neither a link nor a pipe.

A file that is replaced during a run has its checksum beside it (`state.pt.sha256`). The files of an export, which are
written once, are listed in `SHA256SUMS`. `sha256sum -c` reads both. A checksum shows that a file is as it was written,
not who wrote it. Files of earlier versions have no checksums and are read unchecked.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from depthweave.spaces.regular import check_regular

CHECKSUM_SUFFIX = ".sha256"
CHECKSUMS_FILE = "SHA256SUMS"
CHECKSUM_FIELD = "sha256"
"""Key of the checksum that a JSON object keeps of its other values."""

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_FORMER_CHECKSUMS = 2
"""Checksums of earlier contents that a checksum file keeps: a crash may come before the new content is in place."""

logger = logging.getLogger(__name__)

_warned: set[Path] = set()
"""Folders without checksums that a warning was logged for."""


class ChangedError(ValueError):
    """A file is not as it was written; the message is one line that names it."""


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_no_link(path: Path) -> None:
    """Raises `ValueError` where the path is a symbolic link."""
    if path.is_symlink():
        raise ValueError(
            f"{path}: is a link, and none is followed inside a run or an export: put the file itself there "
            f"(`cp -rL` copies a folder so)"
        )


def check_plain(path: Path) -> None:
    """Raises `ValueError` where something other than a regular file exists; a link is never followed."""
    check_no_link(path)
    if path.exists():
        check_regular(path)


def check_no_links(folder: Path) -> None:
    """Raises `ValueError` where anything in the folder, at any depth, is a link."""
    for place, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            check_no_link(Path(place, name))


def checksum_path(path: Path) -> Path:
    """Returns the path of the checksum file beside a file."""
    return path.with_name(path.name + CHECKSUM_SUFFIX)


def replace_with_checksum(scratch: Path, path: Path) -> None:
    """Moves the scratch file to `path` and writes its checksum beside it; the two also match after a crash."""
    beside = checksum_path(path)
    check_plain(path)
    check_plain(beside)
    former = [item for item in checksums_in(beside.read_bytes())[:_FORMER_CHECKSUMS] if item] if beside.exists() else []
    lines = [f"{item}  {path.name}\n" for item in dict.fromkeys([sha256_of(scratch), *former])]
    # The checksum file first: it lists the old content too.
    handle, new_checksum = tempfile.mkstemp(prefix=f".{beside.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new_checksum, beside)
    except BaseException:
        Path(new_checksum).unlink(missing_ok=True)
        raise
    os.replace(scratch, path)


def checksums_in(data: bytes) -> list[str]:
    """Returns the checksums in a checksum file, the newest first; an empty string for a damaged line."""
    found = (_LINE.fullmatch(line) for line in data.decode("utf-8", errors="replace").splitlines())
    return ["" if match is None else match[1] for match in found] or [""]


def verify_checksum(path: Path, *, name: str | None = None) -> bool:
    """Returns whether the file has a checksum beside it; raises `ChangedError` where they do not match.

    `name` is the file's name in the message, if this is a copy of it.
    """
    check_plain(path)
    beside = checksum_path(path)
    check_plain(beside)
    if not beside.exists():
        return False
    if sha256_of(path) not in checksums_in(beside.read_bytes()):
        raise ChangedError(
            f"{name or path}: is damaged, or its checksum in {beside.name} beside it is: they do not match"
        )
    return True


def write_checksums(folder: Path, *, coming: Mapping[str, Path] | None = None, without: Collection[str] = ()) -> None:
    """Writes `SHA256SUMS` for the files of the folder, except those in `without` and those that begin with a dot.

    `coming` maps names to the files that are about to be renamed to them.
    """
    names = {path.name: path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
    names |= coming or {}
    lines = [f"{sha256_of(names[name])}  {name}\n" for name in sorted({*names} - {*without, CHECKSUMS_FILE})]
    scratch = folder / f".{CHECKSUMS_FILE}.new"
    scratch.write_text("".join(lines), encoding="ascii")
    scratch.replace(folder / CHECKSUMS_FILE)


def check_listed(folder: Path, name: str) -> bool:
    """Returns whether the folder has that file; raises `ValueError`, one line, where it is changed or missing.

    An export of an earlier version has no checksums: a warning says so once.
    """
    path, listing = folder / name, folder / CHECKSUMS_FILE
    check_plain(path)
    check_plain(listing)
    if not listing.exists():
        if path.exists() and folder not in _warned:
            _warned.add(folder)
            logger.warning("%s has no %s, as in earlier versions: its files are not checked", folder, CHECKSUMS_FILE)
        return path.exists()
    listed = _listed(listing)
    if name not in listed:
        if path.exists():
            raise ChangedError(f"{path}: {CHECKSUMS_FILE} beside it does not list it; {_advice(name)}")
        return False
    if not path.exists():
        raise ChangedError(f"{path}: is missing, but {CHECKSUMS_FILE} lists it; {_advice(name)}")
    if sha256_of(path) != listed[name]:
        raise ChangedError(f"{path}: is not as it was written, or its line in {CHECKSUMS_FILE} is not; {_advice(name)}")
    return True


def add_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values with their checksum, to be written as a JSON object."""
    plain = {name: value for name, value in values.items() if name != CHECKSUM_FIELD}
    return {**plain, CHECKSUM_FIELD: checksum_of_values(plain)}


def verified_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values without their checksum; raises `ChangedError` where they do not match. It may be absent."""
    plain = {name: value for name, value in values.items() if name != CHECKSUM_FIELD}
    if CHECKSUM_FIELD in values and values[CHECKSUM_FIELD] != checksum_of_values(plain):
        raise ChangedError("it is damaged: its values do not match the checksum in it")
    return plain


def checksum_of_values(values: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the values as their JSON will be read: JSON turns keys into strings."""
    # Python reads back the values that it wrote, floats included.
    text = json.dumps(json.loads(json.dumps(values)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(listing: Path) -> dict[str, str]:
    matches = [_LINE.fullmatch(line) for line in listing.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = {match[2]: match[1] for match in matches if match is not None}
    if len(found) < len(matches) or not found:
        raise ChangedError(f"{listing}: is damaged; {_advice(CHECKSUMS_FILE)}")
    return found


def _advice(name: str) -> str:
    files = name if name == CHECKSUMS_FILE else f"{name} and {CHECKSUMS_FILE}"
    return f"restore {files}; after an intended change, remove {CHECKSUMS_FILE}"
