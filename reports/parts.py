"""One table of a run as a folder of Parquet parts, read whole whatever a crash or a stranger left in it.

Rule of precedence, trial by trial: a part of its own, `trial-00012-r001.parquet`, the highest revision `r` that
can be read; else the latest batch, `batch-00003.parquet`, that holds the trial. Nothing is ever changed in place.

A batch is many parts in one: a part costs about 1.3 ms to open, so 20,000 of them would take half a minute.
It is written before the parts that it replaces are deleted, lowest revision first, so that a crash in between
leaves a duplicate, which the rule resolves, and never a gap or a superseded revision on top.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from depthweave.reports.atomic import read_whole, write_whole
from depthweave.reports.records import SCHEMA_VERSION, Row, schema_of, to_table

_TRIAL_PART = re.compile(r"trial-(\d{5,})-r(\d{3,})\.parquet")
_BATCH_PART = re.compile(r"batch-(\d{5,})\.parquet")
_READERS = 8
_RETRIES = 5


class _Listing(NamedTuple):
    revisions: dict[int, list[int]]
    """Trial to its revisions, highest first."""
    batches: list[int]
    """Numbers of the batches, latest first."""


class PartFolder(Generic[Row]):
    """The parts of one row class under one folder. One writer at a time; readers at any time."""

    def __init__(self, filesystem: fs.FileSystem, folder: str, *, row_class: type[Row], run_id: str) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._row_class: type[Row] = row_class
        self._run_id = run_id
        self._problems: dict[str, str] = {}
        self._batch_trials: dict[int, frozenset[int]] = {}

    @property
    def problems(self) -> list[str]:
        """One line for each file that the last reading left out, with its name and what is wrong."""
        label = self._folder.rsplit("/", 1)[-1]
        return [f"{label}/{name}: {problem}" for name, problem in sorted(self._problems.items())]

    def write(self, rows: Iterable[Row], *, trial: int, revision: int = 0) -> None:
        """The trial's rows stand in a part of their own; the same revision written twice is written once."""
        table = to_table(rows, row_class=self._row_class)
        self._write_table(_trial_name(trial, revision), table)

    def next_revision(self, trial: int) -> int:
        """A revision that supersedes everything known of the trial."""
        return max(self._list().revisions.get(trial, [0])) + 1

    def num_loose(self) -> int:
        """Parts that are not yet in a batch."""
        return sum(len(revisions) for revisions in self._list().revisions.values())

    def has(self, trial: int) -> bool:
        """Whether a readable part holds the trial."""
        listing = self._list()
        loose = any(
            self._read_part(_trial_name(trial, revision), trial=trial) is not None
            for revision in listing.revisions.get(trial, [])
        )
        return loose or any(trial in self._trials_of_batch(number) for number in listing.batches)

    def read(self, trials: Collection[int] | None = None) -> pa.Table:
        """The rows of all trials, or of these, by trial, one revision of each; `problems` says what was left out.

        Raises `ValueError` where a part is of a later schema version than this code knows.
        """
        wanted = set(trials) if trials is not None else None
        for _ in range(_RETRIES):
            # A part that went into a batch after it was listed is gone: look again.
            with suppress(FileNotFoundError):
                return self._read(wanted)
        return self._read(wanted)

    def compact(self) -> int:
        """Every readable loose part is in a batch; returns how many parts were replaced."""
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
            self._filesystem.delete_file(f"{self._folder}/{_trial_name(trial, revision)}")
        return len(replaced)

    def merge(self) -> None:
        """Everything readable is one part, each trial once; what cannot be read is left where it is."""
        self.compact()
        readable = [number for number in self._list().batches if self._read_part(_batch_name(number)) is not None]
        if len(readable) < 2:
            return
        # The newest batch wins: a crash before the last deletion changes nothing that a reader sees.
        self._write_table(_batch_name(max(readable) + 1), self._read(None))
        for number in readable:
            self._filesystem.delete_file(f"{self._folder}/{_batch_name(number)}")

    def _read(self, trials: set[int] | None) -> pa.Table:
        listing = self._list()
        chosen = self._read_loose(listing, trials)
        tables: list[Any] = [chosen[trial][1] for trial in sorted(chosen)]
        seen = set(chosen)
        for number in listing.batches:
            table = self._read_part(_batch_name(number))
            if table is None:
                continue
            held = frozenset(pc.unique(table["trial"]).to_pylist())
            wanted = (held if trials is None else held & trials) - seen
            if wanted != held:
                table = table.filter(pc.is_in(table["trial"], pa.array(sorted(wanted), pa.int64())))
            tables.append(table)
            seen |= wanted
        merged = pa.concat_tables([_nullable(schema_of(self._row_class)).empty_table(), *tables])
        # Rows of one trial keep their order: the sort is by trial and then by place.
        place = pa.array(range(merged.num_rows), pa.int64())
        order = pc.sort_indices(
            pa.table({"trial": merged["trial"], "place": place}),
            sort_keys=[("trial", "ascending"), ("place", "ascending")],
        )
        return _as_strict_as_possible(merged.take(order), schema_of(self._row_class))

    def _read_loose(self, listing: _Listing, trials: set[int] | None) -> dict[int, tuple[int, pa.Table]]:
        wanted = [trial for trial in listing.revisions if trials is None or trial in trials]

        def newest_readable(trial: int) -> tuple[int, pa.Table] | None:
            for revision in listing.revisions[trial]:
                table = self._read_part(_trial_name(trial, revision), trial=trial)
                if table is not None:
                    return revision, table
            return None

        with ThreadPoolExecutor(_READERS) as pool:
            found = zip(wanted, pool.map(newest_readable, wanted), strict=True)
            return {trial: item for trial, item in found if item is not None}

    def _list(self) -> _Listing:
        revisions: dict[int, list[int]] = defaultdict(list)
        batches: list[int] = []
        names = set()
        for info in self._filesystem.get_file_info(fs.FileSelector(self._folder, allow_not_found=True)):
            name = info.base_name
            if info.type != fs.FileType.File or name.startswith(".") or not name.endswith(".parquet"):
                continue
            names.add(name)
            if match := _TRIAL_PART.fullmatch(name):
                revisions[int(match[1])].append(int(match[2]))
            elif match := _BATCH_PART.fullmatch(name):
                batches.append(int(match[1]))
            else:
                self._problems[name] = "not a name that Depthweave writes; left out"
        for gone in set(self._problems) - names:
            del self._problems[gone]
        ordered = {trial: sorted(numbers, reverse=True) for trial, numbers in sorted(revisions.items())}
        return _Listing(ordered, sorted(batches, reverse=True))

    def _trials_of_batch(self, number: int) -> frozenset[int]:
        if number not in self._batch_trials:
            table = self._read_part(_batch_name(number))
            if table is None:
                return frozenset()
            self._batch_trials[number] = frozenset(pc.unique(table["trial"]).to_pylist())
        return self._batch_trials[number]

    def _read_part(self, name: str, *, trial: int | None = None) -> pa.Table | None:
        """The part in this version's columns, or `None` with the problem remembered."""
        try:
            table = self._checked(name, trial=trial)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, _UnusableError) as error:
            self._problems[name] = f"{_first_line(error)}; left out"
            return None
        self._problems.pop(name, None)
        return table

    def _checked(self, name: str, *, trial: int | None) -> pa.Table:
        path = f"{self._folder}/{name}"
        # Read as bytes first: a missing file then raises FileNotFoundError on every filesystem.
        file = pq.ParquetFile(io.BytesIO(read_whole(self._filesystem, path)))
        version = _version(file.schema_arrow.metadata or {}, row_class=self._row_class)
        if version > SCHEMA_VERSION:
            raise ValueError(
                f"{path}: schema version {version}, this Depthweave reads up to {SCHEMA_VERSION}: upgrade it"
            )
        table = _in_columns(file.read(use_threads=False), schema_of(self._row_class), version=version)
        runs = pc.unique(table["run_id"]).to_pylist()
        if runs and runs != [self._run_id]:
            raise _UnusableError(f"belongs to run {runs[0]!r}, not to {self._run_id!r}")
        if trial is not None and table.num_rows and pc.unique(table["trial"]).to_pylist() != [trial]:
            raise _UnusableError(f"holds another trial than {trial}")
        return table

    def _write_table(self, name: str, table: pa.Table) -> None:
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        write_whole(self._filesystem, f"{self._folder}/{name}", sink.getvalue())


class _UnusableError(Exception):
    """A file that reads as Parquet and is yet no part of this table."""


def _trial_name(trial: int, revision: int) -> str:
    return f"trial-{trial:05d}-r{revision:03d}.parquet"


def _batch_name(number: int) -> str:
    return f"batch-{number:05d}.parquet"


def _version(metadata: dict[bytes, bytes], *, row_class: type[Any]) -> int:
    found = metadata.get(b"depthweave.schema", b"").decode(errors="replace")
    if found != row_class.__name__:
        what = f"a table of {found}" if found else "Parquet that Depthweave did not write"
        raise _UnusableError(f"{what}, expected {row_class.__name__}")
    text = metadata.get(b"depthweave.schema_version", b"").decode(errors="replace")
    if not text.isdigit():
        raise _UnusableError(f"schema version {text!r} is not a number")
    return int(text)


def _in_columns(table: pa.Table, schema: pa.Schema, *, version: int) -> pa.Table:
    """The table in exactly the columns of `schema`; those that an older version lacks are null."""
    absent = [item.name for item in schema if item.name not in table.column_names]
    if absent and (version == SCHEMA_VERSION or {"run_id", "trial"} & set(absent)):
        raise _UnusableError(f"column {absent[0]!r} is missing")
    columns = [
        pa.nulls(table.num_rows, item.type) if item.name in absent else table[item.name].cast(item.type)
        for item in schema
    ]
    return pa.table(columns, schema=_nullable(schema))


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([item.with_nullable(True) for item in schema], metadata=schema.metadata)


def _as_strict_as_possible(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Required columns are declared so again, but for those that an older version lacks."""
    fields: Sequence[pa.Field] = [item.with_nullable(True) if table[item.name].null_count else item for item in schema]
    return table.cast(pa.schema(fields, metadata=schema.metadata))


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__
