"""One table of a run as a folder of Parquet files, readable whatever a crash or a stranger left in it.

Each trial is read from one file, by this rule of precedence:
1. its own file with the highest readable revision, `trial-00012-r001.parquet`;
2. else the latest batch that holds the trial, `batch-00003.parquet`.
No file is ever changed in place.

A batch holds the rows of many files: opening a file costs about 1.3 ms, so 20,000 of them would take half a minute.
A batch is written before the files that it replaces are deleted, lowest revision first. A crash in between leaves a
duplicate, which the rule resolves, and never a gap or a superseded revision on top.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Generic, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depthweave.reports.store.arrow_rows import Row, schema_of, to_table
from depthweave.reports.store.parquet_file import (
    LaterSchemaError,
    UnusableFileError,
    as_strict_as_possible,
    nullable,
    parquet_bytes,
    read_parquet,
)
from depthweave.reports.store.storage import Storage, UnreachableError
from depthweave.spaces.locks import acquire_soon, file_lock

_TRIAL_FILE = re.compile(r"trial-(\d{5,})-r(\d{3,})\.parquet")
_BATCH_FILE = re.compile(r"batch-(\d{5,})\.parquet")
_ASIDE = ".corrupt"
_READERS = 8
_RETRIES = 20
_RETRY_S = 0.05
_LOCK_LIMIT_S = 300.0
"""Longest wait for another process that is writing a batch."""


class _Listing(NamedTuple):
    revisions: dict[int, list[int]]
    """Trial to the revisions of its own files, highest first."""
    batches: list[int]
    """Numbers of the batches, latest first."""


class ParquetFolder(Generic[Row]):
    """The files of one row class in one folder. One process may write at a time; any number may read at any time."""

    def __init__(self, storage: Storage, folder: str, *, row_class: type[Row], run_id: str) -> None:
        """`folder` is a name in the storage."""
        self._storage = storage
        self._folder = folder
        self._row_class: type[Row] = row_class
        self._run_id = run_id
        self._problems: dict[str, str] = {}
        self._damaged: set[str] = set()
        """Files that could be read from the storage and whose content is not valid, or not all of it."""

    @property
    def problems(self) -> list[str]:
        """One line for each file that the last reading left out, with its name and the reason."""
        return [f"{self._folder}/{name}: {problem}" for name, problem in sorted(self._problems.items())]

    def write(self, rows: Iterable[Row], *, trial: int, revision: int = 0) -> None:
        """Writes the trial's rows into a file of their own; writing the same revision twice changes nothing."""
        table = to_table(rows, row_class=self._row_class)
        self._write_table(_revision_name(trial, revision), table)

    def next_revision(self, trial: int) -> int:
        """Returns a revision that supersedes all existing ones of the trial."""
        return max(self._list().revisions.get(trial, [0])) + 1

    def num_batches(self) -> int:
        """Returns the number of batches, readable or not."""
        return len(self._list().batches)

    def num_loose(self) -> int:
        """Returns the number of files that are not yet in a batch."""
        return sum(len(revisions) for revisions in self._list().revisions.values())

    def read(self, trials: Collection[int] | None = None) -> pa.Table:
        """Returns the rows of all trials, or of these, sorted by trial; `problems` then says what was left out.

        Raises `ValueError` where a file has a later schema version than this code knows.
        """
        wanted = set(trials) if trials is not None else None
        for _ in range(_RETRIES):
            # A file that was moved into a batch after the listing is gone: list again.
            with suppress(FileNotFoundError):
                return self._read(wanted)
            time.sleep(_RETRY_S)
        return self._read(wanted)

    def compact(self) -> int:
        """Moves every readable file of a single trial into a batch; returns the number of files replaced."""
        with self._batch_lock():
            return self._compact()

    def merge(self) -> None:
        """Merges everything readable into one file, each trial once, and sets damaged files aside under another suffix.

        Other programs read the folder as a whole, and one damaged file would keep them from reading any.
        """
        with self._batch_lock():
            self._damaged.clear()
            self._compact()
            readable = [number for number in self._list().batches if self._read_file(_batch_name(number)) is not None]
            for name in sorted(self._damaged - {_batch_name(number) for number in readable}):
                self._set_aside(name)
            if len(readable) < 2 and not self._damaged & {_batch_name(number) for number in readable}:
                return
            # The newest batch takes precedence: a crash before the last deletion changes nothing for a reader.
            self._write_table(_batch_name(max(readable) + 1), self._read(None))
            for number in readable:
                self._replace(_batch_name(number))

    @contextmanager
    def _batch_lock(self) -> Iterator[None]:
        """Keeps other processes of this machine from writing a batch: two would give their batches the same name.

        In object storage there is no such lock, because there only the search may write.
        """
        if not self._storage.is_local:
            yield
            return
        self._storage.make_folder("")
        lock = file_lock(self._storage.path(f".{self._folder}.lock"))
        acquire_soon(lock, limit_s=_LOCK_LIMIT_S)
        try:
            yield
        finally:
            lock.release()

    def _compact(self) -> int:
        listing = self._list()
        chosen = self._read_loose(listing, None)
        if not chosen:
            return 0
        number = max(listing.batches, default=0) + 1
        tables: list[Any] = [chosen[trial][1] for trial in sorted(chosen)]
        self._write_table(_batch_name(number), pa.concat_tables(tables))
        replaced = [
            (revision, trial)
            for trial, (top, _) in chosen.items()
            for revision in listing.revisions[trial]
            if revision <= top
        ]
        for revision, trial in sorted(replaced):
            self._replace(_revision_name(trial, revision))
        return len(replaced)

    def _replace(self, name: str) -> None:
        """Deletes a file whose rows are in another one; sets it aside where it also held rows that were left out."""
        if name in self._damaged:
            self._set_aside(name)
        else:
            self._storage.delete(f"{self._folder}/{name}")

    def _set_aside(self, name: str) -> None:
        self._storage.move(f"{self._folder}/{name}", f"{self._folder}/{name}{_ASIDE}")
        self._damaged.discard(name)

    def _read(self, trials: set[int] | None) -> pa.Table:
        listing = self._list()
        chosen = self._read_loose(listing, trials)
        tables: list[Any] = [chosen[trial][1] for trial in sorted(chosen)]
        seen = set(chosen)
        for number in listing.batches:
            table = self._read_file(_batch_name(number))
            if table is None:
                continue
            contained = frozenset(pc.unique(table["trial"]).to_pylist())
            wanted = (contained if trials is None else contained & trials) - seen
            if wanted != contained:
                table = table.filter(pc.is_in(table["trial"], pa.array(sorted(wanted), pa.int64())))
            tables.append(table)
            seen |= wanted
        merged = pa.concat_tables([nullable(schema_of(self._row_class)).empty_table(), *tables])
        numbers = merged["trial"].to_numpy()
        if (numbers[1:] < numbers[:-1]).any():
            # Rows of one trial keep their order.
            merged = merged.take(np.argsort(numbers, kind="stable"))
        return as_strict_as_possible(merged, schema_of(self._row_class))

    def _read_loose(self, listing: _Listing, trials: set[int] | None) -> dict[int, tuple[int, pa.Table]]:
        wanted = [trial for trial in listing.revisions if trials is None or trial in trials]

        def newest_readable(trial: int) -> tuple[int, pa.Table] | None:
            for revision in listing.revisions[trial]:
                table = self._read_file(_revision_name(trial, revision), trial=trial)
                if table is not None:
                    return revision, table
            return None

        # Threads shorten the waiting for a network. On a disk they wait for each other and take twice as long as none.
        with nullcontext() if self._storage.is_local else ThreadPoolExecutor(_READERS) as pool:
            tables = pool.map(newest_readable, wanted) if pool else map(newest_readable, wanted)
            return {trial: item for trial, item in zip(wanted, tables, strict=True) if item is not None}

    def _list(self) -> _Listing:
        revisions: dict[int, list[int]] = defaultdict(list)
        batches: list[int] = []
        names = set()
        for info in self._storage.files(self._folder):
            name = info.base_name
            if name.startswith(".") or not name.endswith((".parquet", _ASIDE)):
                continue
            names.add(name)
            if name.endswith(_ASIDE):
                self._problems[name] = "was damaged and set aside; left out"
            elif match := _TRIAL_FILE.fullmatch(name):
                revisions[int(match[1])].append(int(match[2]))
            elif match := _BATCH_FILE.fullmatch(name):
                batches.append(int(match[1]))
            else:
                self._problems[name] = "not a name that Depthweave writes; left out"
        for gone in set(self._problems) - names:
            del self._problems[gone]
        ordered = {trial: sorted(numbers, reverse=True) for trial, numbers in sorted(revisions.items())}
        return _Listing(ordered, sorted(batches, reverse=True))

    def _read_file(self, name: str, *, trial: int | None = None) -> pa.Table | None:
        """Returns the file's rows in this version's columns, or `None` after noting the problem."""
        data = None
        try:
            data = self._storage.read(f"{self._folder}/{name}")
            table, left_out = read_parquet(data, row_class=self._row_class, run_id=self._run_id, trial=trial)
        except (FileNotFoundError, UnreachableError):
            raise
        except LaterSchemaError as error:
            raise ValueError(f"{self._storage.path(self._folder)}/{name}: {error}") from None
        # ValueError: the name of a column is not UTF-8. LookupError: a column occurs twice.
        except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, UnusableFileError) as error:
            reason = _first_line(error)
            # A message of Arrow is about its own internals, so it needs an introduction.
            is_foreign = not isinstance(error, UnusableFileError)
            self._problems[name] = f"cannot be read ({reason}); left out" if is_foreign else f"{reason}; left out"
            if data is not None:
                self._damaged.add(name)
            return None
        if not left_out:
            self._problems.pop(name, None)
            return table
        self._problems[name] = f"{left_out}; left out"
        self._damaged.add(name)
        # Without a valid row, an earlier revision counts.
        return table if table.num_rows else None

    def _write_table(self, name: str, table: pa.Table) -> None:
        self._storage.write(f"{self._folder}/{name}", parquet_bytes(table))


def _revision_name(trial: int, revision: int) -> str:
    return f"trial-{trial:05d}-r{revision:03d}.parquet"


def _batch_name(number: int) -> str:
    return f"batch-{number:05d}.parquet"


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__
