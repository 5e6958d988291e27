"""Optuna's journal: a file on this machine's disk, and kept in the run folder where that is elsewhere.

Object storage cannot append. What the journal gained goes there as a piece, named by the byte at which it begins; now
and then, and at the end, the whole journal takes the place of its pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from depthweave.reports.store.storage import Storage, UnreachableError
from depthweave.search.scratch import scratch

JOURNAL = "study.journal"
_PIECES = "journal"
_MANY_PIECES = 256


class Journal:
    """The journal of a run that this process alone writes."""

    def __init__(self, storage: Storage, path: Path) -> None:
        self.path = path
        """Of the file that Optuna writes, on this machine."""
        self._storage = storage
        self._kept, self._num_pieces = 0, 0

    def fetch(self) -> None:
        """The file is as it was last kept; absent where it never was."""
        if self._storage.is_local:
            return
        data = self._storage.read(JOURNAL) if self._storage.exists(JOURNAL) else b""
        pieces = sorted(info.base_name for info in self._storage.files(_PIECES) if info.base_name.isdigit())
        for name in pieces:
            # Those before are in the whole journal: a kill came before they were deleted.
            if int(name) == len(data):
                data += self._storage.read(f"{_PIECES}/{name}")
        if data:
            self.path.write_bytes(data)
        for info in self._storage.files(""):
            # So that one which is set aside now finds that name taken.
            if info.base_name.startswith(f"{JOURNAL}.corrupt"):
                self.path.with_name(info.base_name).touch()

    def keep(self) -> None:
        """What Optuna was told so far is in the run folder."""
        if self._storage.is_local:
            return
        size = self.path.stat().st_size
        # A journal that was shortened or made again is another one.
        if size < self._kept or not self._kept or self._num_pieces >= _MANY_PIECES:
            self.keep_whole()
        elif size > self._kept:
            with self.path.open("rb") as file:
                file.seek(self._kept)
                self._storage.write(f"{_PIECES}/{self._kept:015d}", file.read(size - self._kept))
            self._kept = size
            self._num_pieces += 1

    def keep_whole(self) -> None:
        """The same, in one piece, with journals that were set aside; other programs read it so."""
        if self._storage.is_local or not self.path.exists():
            return
        for aside in self.path.parent.glob(f"{JOURNAL}.corrupt*"):
            if not self._storage.exists(aside.name):
                self._storage.copy_in(aside, aside.name)
        data = self.path.read_bytes()
        self._storage.write(JOURNAL, data)
        for info in self._storage.files(_PIECES):
            self._storage.delete(f"{_PIECES}/{info.base_name}")
        self._kept, self._num_pieces = len(data), 0


@contextmanager
def journal_of(storage: Storage) -> Iterator[Journal]:
    """The run's journal; one that began elsewhere is fetched, and whole in the run folder at the end."""
    if storage.is_local:
        yield Journal(storage, Path(storage.path(JOURNAL)))
        return
    with scratch("journal") as folder:
        journal = Journal(storage, folder / JOURNAL)
        journal.fetch()
        try:
            yield journal
        finally:
            # Its pieces are there; and what ended the search is to be heard, not that the storage is away or taken.
            with suppress(UnreachableError, ValueError):
                journal.keep_whole()
