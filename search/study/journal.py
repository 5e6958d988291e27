"""Optuna's journal: a file on this machine's disk, copied to the run folder if that is in object storage.

Object storage cannot append. New lines are uploaded as a part, named by its byte offset in the journal. After many
parts, and at the end, the whole journal is uploaded and replaces them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from depthweave.reports.store.storage import Storage, UnreachableError
from depthweave.search.scratch import scratch

JOURNAL = "study.journal"
OBJECTIVES_STUDY = "objectives"
ARCHITECTURE = "architecture_id"
"""User attribute of a trial."""
_PARTS = "journal"
_MAX_PARTS = 256


class Journal:
    """The journal of a run. Only this process writes it."""

    def __init__(self, storage: Storage, path: Path) -> None:
        self.path = path
        """The file that Optuna writes, on this machine."""
        self._storage = storage
        self._num_uploaded, self._num_parts = 0, 0

    def download(self) -> None:
        """Downloads the journal; without one in the run folder there is no file."""
        if self._storage.is_local:
            return
        data = self._storage.read(JOURNAL) if self._storage.exists(JOURNAL) else b""
        parts = sorted(info.base_name for info in self._storage.files(_PARTS) if info.base_name.isdigit())
        for name in parts:
            # After a kill, parts may remain that the whole journal already contains.
            if int(name) == len(data):
                data += self._storage.read(f"{_PARTS}/{name}")
        if data:
            self.path.write_bytes(data)
        for info in self._storage.files(""):
            # An empty local file reserves the name: a journal that is set aside later takes another one.
            if info.base_name.startswith(f"{JOURNAL}.corrupt"):
                self.path.with_name(info.base_name).touch()

    def upload(self) -> None:
        """Uploads the lines written since the last call."""
        if self._storage.is_local:
            return
        size = self.path.stat().st_size
        # A shortened or rebuilt journal is uploaded whole.
        if size < self._num_uploaded or not self._num_uploaded or self._num_parts >= _MAX_PARTS:
            self.upload_whole()
        elif size > self._num_uploaded:
            with self.path.open("rb") as file:
                file.seek(self._num_uploaded)
                self._storage.write(f"{_PARTS}/{self._num_uploaded:015d}", file.read(size - self._num_uploaded))
            self._num_uploaded = size
            self._num_parts += 1

    def upload_whole(self) -> None:
        """Uploads the whole journal, which other programs can read, and the journals that were set aside."""
        if self._storage.is_local or not self.path.exists():
            return
        for aside in self.path.parent.glob(f"{JOURNAL}.corrupt*"):
            if not self._storage.exists(aside.name):
                self._storage.copy_in(aside, aside.name)
        data = self.path.read_bytes()
        self._storage.write(JOURNAL, data)
        for info in self._storage.files(_PARTS):
            self._storage.delete(f"{_PARTS}/{info.base_name}")
        self._num_uploaded, self._num_parts = len(data), 0


@contextmanager
def journal_of(storage: Storage) -> Iterator[Journal]:
    """Yields the run's journal. In object storage it is downloaded first and uploaded whole at the end."""
    if storage.is_local:
        yield Journal(storage, Path(storage.path(JOURNAL)))
        return
    with scratch("journal") as folder:
        journal = Journal(storage, folder / JOURNAL)
        journal.download()
        try:
            yield journal
        finally:
            # The parts are uploaded already. An error here must not hide the one that ended the search.
            with suppress(UnreachableError, ValueError):
                journal.upload_whole()
