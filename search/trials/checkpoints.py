"""The checkpoints of trials: a folder for each trial in the run folder.

A trial works on its machine's disk. Where the run folder is on a disk, it works in its checkpoint folder. Where the run
folder is in object storage, it works in a scratch folder: `fetch` downloads to that folder, `keep` uploads from it.
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

from depthweave.reports.store.run_store import trial_name
from depthweave.reports.store.storage import Storage
from depthweave.search.scratch import Scratch
from depthweave.spaces.checksums import CHECKSUM_SUFFIX
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.trainers.checkpoint import STATE_FILE

PROGRESS_FILE = "progress.json"
_FOLDER = re.compile(r"trial-(\d{5,})")


class Checkpoints:
    """The checkpoints and weights of all trials of a run. A worker has one trial at a time."""

    def __init__(self, where: str | os.PathLike[str]) -> None:
        # Patient: the run that it belongs to is already open, so the address is right.
        self._storage = Storage(where, patient=True)
        self._scratch = None if self._storage.is_local else _new_scratch(self)

    @property
    def where(self) -> str:
        """The address, from which every worker makes its own object."""
        return self._storage.where

    def folder(self, number: int) -> Path:
        """Returns the folder in which the trial writes on this machine. It may not exist yet."""
        return trial_folder(self._storage.root if self._scratch is None else self._scratch, number)

    def fetch(self, number: int) -> Path:
        """Returns the trial's folder on this machine, with its kept files. The scratch of other trials is deleted.

        Raises `ValueError` where the folder is a link, or has one.
        """
        folder = self.folder(number)
        self._storage.check_no_links(folder.name)
        if self._scratch is not None:
            for other in self._scratch.iterdir():
                shutil.rmtree(other)
            folder.mkdir()
            for info in self._files(number):
                # A partial file, of a worker that was killed or still writes.
                if not info.base_name.startswith("."):
                    self._storage.copy_out(f"{folder.name}/{info.base_name}", folder / info.base_name)
        return folder

    def keep(self, number: int, names: Sequence[str]) -> None:
        """Keeps these files of the trial's folder, in this order, each completely or not at all."""
        if self._scratch is not None:
            folder = self.folder(number)
            for name in names:
                # The checksum file first, as on a disk: it has the checksum of the previous content too.
                for part in (f"{name}{CHECKSUM_SUFFIX}", name):
                    if part == name or (folder / part).exists():
                        self._storage.copy_in(folder / part, f"{folder.name}/{part}")

    def read(self, number: int, name: str) -> bytes | None:
        """Returns the content of a kept file; `None` where there is none."""
        with suppress(FileNotFoundError):
            return self._storage.read(f"{self.folder(number).name}/{name}")
        return None

    def has_state(self, number: int) -> bool:
        """Returns whether the trial can continue."""
        return self._storage.exists(f"{self.folder(number).name}/{STATE_FILE}")

    def numbers(self) -> list[int]:
        """Numbers of the trials that have kept files."""
        folders = {Path(info.path).parent.name for info in self._storage.files("", recursive=True)}
        return sorted(int(match[1]) for match in map(_FOLDER.fullmatch, folders) if match)

    def drop(self, number: int, *, keep_weights: bool) -> int:
        """Deletes what only a running trial needs, and its weights unless `keep_weights`. Returns the freed bytes."""
        folder, freed = self.folder(number), 0
        # All files: a worker that was killed while saving leaves a partial file under another name.
        for info in self._files(number):
            if keep_weights and info.base_name in (MODEL_FILE, f"{MODEL_FILE}{CHECKSUM_SUFFIX}"):
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
    """Returns a folder that is deleted with its owner."""
    made = Scratch("checkpoints")
    weakref.finalize(owner, made.remove)
    return made.path


def trial_folder(checkpoints: str | os.PathLike[str], number: int) -> Path:
    """Returns the folder of a trial's checkpoint and weights."""
    return Path(checkpoints) / trial_name(number)
