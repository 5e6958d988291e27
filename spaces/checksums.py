"""Checksums of files, and files that are what they seem to be: neither links nor pipes.

A file that is replaced while a run goes on has its sum beside it (`state.pt.sha256`); the files of an export, which
are written once, are listed in `SHA256SUMS`. `sha256sum -c` reads both. A sum says that a file is as it was written,
not who wrote it. What an earlier version wrote has no sums, and is read unchecked.
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

SUM_SUFFIX = ".sha256"
SUMS_FILE = "SHA256SUMS"
SEAL = "sha256"
"""Key under which a JSON object keeps the sum of its other values."""

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_FORMER_SUMS = 2
"""Sums of earlier contents that a sum file keeps: a crash may come before the new content."""

logger = logging.getLogger(__name__)

_told: set[Path] = set()
"""Folders of which it was said that they have no sums."""


class ChangedError(ValueError):
    """A file that is not as it was written; one line that names it."""


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The sum of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_no_link(path: Path) -> None:
    """Raises `ValueError` where the path itself is a link."""
    if path.is_symlink():
        raise ValueError(
            f"{path}: is a link, and none is followed inside a run or an export: put the file itself there "
            f"(`cp -rL` copies a folder so)"
        )


def check_plain(path: Path) -> None:
    """Raises `ValueError` where something else than a regular file is there; a link is never followed."""
    check_no_link(path)
    if path.exists():
        check_regular(path)


def check_no_links(folder: Path) -> None:
    """Raises `ValueError` where anything in the folder, at any depth, is a link."""
    for place, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            check_no_link(Path(place, name))


def sum_path(path: Path) -> Path:
    """Where the sum of a file is kept beside it."""
    return path.with_name(path.name + SUM_SUFFIX)


def replace_with_sum(scratch: Path, path: Path) -> None:
    """The scratch file takes the place of `path`, and its sum is beside it: after a crash, that of what is there."""
    beside = sum_path(path)
    check_plain(path)
    check_plain(beside)
    former = [item for item in sums_in(beside.read_bytes())[:_FORMER_SUMS] if item] if beside.exists() else []
    lines = [f"{item}  {path.name}\n" for item in dict.fromkeys([sha256_of(scratch), *former])]
    # The sum first: it names the old content too.
    handle, new_sum = tempfile.mkstemp(prefix=f".{beside.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new_sum, beside)
    except BaseException:
        Path(new_sum).unlink(missing_ok=True)
        raise
    os.replace(scratch, path)


def sums_in(data: bytes) -> list[str]:
    """The sums that a sum file holds, the newest first; an empty one for a line that is damaged."""
    found = (_LINE.fullmatch(line) for line in data.decode("utf-8", errors="replace").splitlines())
    return ["" if match is None else match[1] for match in found] or [""]


def check_sum(path: Path, *, name: str | None = None) -> bool:
    """Whether the file has a sum beside it, which it then fits; `ChangedError` where it does not.

    `name` is what the message calls the file, where this is a copy of it.
    """
    check_plain(path)
    beside = sum_path(path)
    check_plain(beside)
    if not beside.exists():
        return False
    if sha256_of(path) not in sums_in(beside.read_bytes()):
        raise ChangedError(f"{name or path}: is damaged: its bytes do not fit the sum in {beside.name} beside it")
    return True


def write_sums(folder: Path, *, coming: Mapping[str, Path] | None = None, without: Collection[str] = ()) -> None:
    """`SHA256SUMS` lists every file of the folder, but for those in `without` and those that begin with a dot.

    `coming`: names that files of other names are about to take.
    """
    names = {path.name: path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
    names |= coming or {}
    lines = [f"{sha256_of(names[name])}  {name}\n" for name in sorted({*names} - {*without, SUMS_FILE})]
    scratch = folder / f".{SUMS_FILE}.new"
    scratch.write_text("".join(lines), encoding="ascii")
    scratch.replace(folder / SUMS_FILE)


def check_listed(folder: Path, name: str) -> bool:
    """Whether the folder holds that file, as it was written; `ValueError`, one line, where it is another or is gone.

    An export of an earlier version has no sums: that is said once.
    """
    path, sums = folder / name, folder / SUMS_FILE
    check_plain(path)
    check_plain(sums)
    if not sums.exists():
        if path.exists() and folder not in _told:
            _told.add(folder)
            logger.warning("%s has no %s, as earlier versions wrote none: its files are not checked", folder, SUMS_FILE)
        return path.exists()
    listed = _listed(sums)
    if name not in listed:
        if path.exists():
            raise ChangedError(f"{path}: {SUMS_FILE} beside it does not list it: {_way_out(name)}")
        return False
    if not path.exists():
        raise ChangedError(f"{path}: is gone, while {SUMS_FILE} lists it: {_way_out(name)}")
    if sha256_of(path) != listed[name]:
        raise ChangedError(f"{path}: is not as it was written: {SUMS_FILE} lists another sum: {_way_out(name)}")
    return True


def seal(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their sum, as a JSON object keeps them."""
    plain = {name: value for name, value in values.items() if name != SEAL}
    return {**plain, SEAL: _sum_of_values(plain)}


def check_seal(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without their sum; `ChangedError` where they do not fit it. An earlier version wrote none."""
    plain = {name: value for name, value in values.items() if name != SEAL}
    if SEAL in values and values[SEAL] != _sum_of_values(plain):
        raise ChangedError("it is damaged: its values do not fit the sum that it holds of them")
    return plain


def _sum_of_values(values: Mapping[str, Any]) -> str:
    # What Python writes it reads back as the same values, floats included.
    text = json.dumps(json.loads(json.dumps(values)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(sums: Path) -> dict[str, str]:
    matches = [_LINE.fullmatch(line) for line in sums.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = {match[2]: match[1] for match in matches if match is not None}
    if len(found) < len(matches) or not found:
        raise ChangedError(f"{sums}: is damaged: {_way_out(SUMS_FILE)}")
    return found


def _way_out(name: str) -> str:
    return f"restore {name}; if it was changed on purpose, remove {SUMS_FILE}"
