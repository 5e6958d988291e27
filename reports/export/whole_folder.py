"""A folder that is written completely or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depthweave.spaces.checksums import write_checksums


def check_target(target: Path) -> None:
    """Raises `ValueError` unless the path is free or an empty folder."""
    if target.is_symlink():
        raise ValueError(f"{target} is a link: give --out the folder itself")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is not an empty folder: give --out another one")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yields a folder beside the target that becomes the target at the end, with `SHA256SUMS` of its files.

    After an error nothing is left. The target must be free or an empty folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield building
        write_checksums(building)
        building.chmod(0o755)
        if target.exists():
            target.rmdir()
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
