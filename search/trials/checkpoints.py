"""What trials can go on from: a folder for each, in the run folder, wherever that is.

A trial works on its machine's disk. Where the run folder is on a disk that is the folder itself; where it is in object
storage it is scratch, filled by `fetch` and taken up by `keep`.
"""

from __future__ import annotations

import os
import re
import shutil
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from depthweave.reports.store.storage import Storage
from depthweave.search.scratch import Scratch
from depthweave.spaces.checksums import SUM_SUFFIX
from depthweave.spaces.files import MODEL_FILE

STATE_FILE = "state.pt"
PROGRESS_FILE = "progress.json"
_FOLDER = re.compile(r"trial-(\d{5,})")


class Checkpoints:
    """The checkpoints and weights of all trials of a run; a worker has one trial at a time."""

    def __init__(self, where: str | os.PathLike[str]) -> None:
        # Whoever names it has opened the run that it belongs to.
        self._storage = Storage(where, patient=True)
        self._scratch = None if self._storage.is_local else _new_scratch(self)

    @property
    def where(self) -> str:
        """The address, from which every worker makes its own."""
        return self._storage.where

    def folder(self, number: int) -> Path:
        """Where the trial writes, on this machine; not there before it does."""
        return trial_folder(self._storage.root if self._scratch is None else self._scratch, number)

    def fetch(self, number: int) -> Path:
        """The trial's folder on this machine, with what is kept of it; other trials have no scratch any more.

        Raises `ValueError` where it is a link, or holds one.
        """
        folder = self.folder(number)
        self._storage.check_no_links(folder.name)
        if self._scratch is not None:
            for former in self._scratch.iterdir():
                shutil.rmtree(former)
            folder.mkdir()
            for info in self._files(number):
                # What begins so is a part of a file, of a worker that was killed or that still writes.
                if not info.base_name.startswith("."):
                    self._storage.copy_out(f"{folder.name}/{info.base_name}", folder / info.base_name)
        return folder

    def keep(self, number: int, names: Sequence[str]) -> None:
        """These files of the trial's folder are kept, one after the other, each whole or as it was."""
        if self._scratch is not None:
            folder = self.folder(number)
            for name in names:
                # The sum first, as on a disk: it names the content before, too.
                for part in (f"{name}{SUM_SUFFIX}", name):
                    if part == name or (folder / part).exists():
                        self._storage.copy_in(folder / part, f"{folder.name}/{part}")

    def read(self, number: int, name: str) -> bytes | None:
        """A kept file; `None` where there is none."""
        with suppress(FileNotFoundError):
            return self._storage.read(f"{self.folder(number).name}/{name}")
        return None

    def has_state(self, number: int) -> bool:
        """Whether the trial can go on."""
        return self._storage.exists(f"{self.folder(number).name}/{STATE_FILE}")

    def numbers(self) -> list[int]:
        """The trials of which anything is kept."""
        folders = {Path(info.path).parent.name for info in self._storage.files("", recursive=True)}
        return sorted(int(match[1]) for match in map(_FOLDER.fullmatch, folders) if match)

    def drop(self, number: int, *, keep_weights: bool) -> int:
        """What only a running trial needs is gone, and the weights too where they are nobody's result.

        Answers the bytes that were freed.
        """
        folder, freed = self.folder(number), 0
        # A worker that was killed while it saved has left a part of a file under another name.
        for info in self._files(number):
            if keep_weights and info.base_name in (MODEL_FILE, f"{MODEL_FILE}{SUM_SUFFIX}"):
                continue
            with suppress(FileNotFoundError):
                self._storage.delete(f"{folder.name}/{info.base_name}")
                freed += info.size
        if not keep_weights:
            shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _files(self, number: int) -> list[fs.FileInfo]:
        return self._storage.files(self.folder(number).name)


def _new_scratch(owner: object) -> Path:
    """A folder that goes with its owner."""
    made = Scratch("checkpoints")
    weakref.finalize(owner, made.remove)
    return made.path


def trial_folder(checkpoints: str | os.PathLike[str], number: int) -> Path:
    """Where a trial keeps its checkpoint and weights."""
    return Path(checkpoints) / f"trial-{number:05d}"
