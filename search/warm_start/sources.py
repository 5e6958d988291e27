"""The runs and tables that a spec names for a warm start: opened, and refused in one line where they are of no use."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from depthweave.reports.export import architecture_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import Storage
from depthweave.reports.store.warm_start import SourceRun
from depthweave.search.spec.schema import Spec
from depthweave.search.spec.task_objectives import DEFAULT_TASK
from depthweave.search.warm_start.tables import is_table, table_sources
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.hosted import architecture_from_dict

_KEY = "search.warm_start"
_NAME_ANOTHER = "name a run of the same task"


@dataclass(frozen=True, kw_only=True)
class OpenedSource:
    """A source run, and what it holds now."""

    address: str
    """As the spec names it."""
    store: RunStore
    records: tuple[Record, ...]
    """The complete ones with a finite loss; at least one."""
    title: str
    """Its name; with its id where another source has the same name."""


def check_sources(spec: Spec, *, out: Storage) -> None:
    """Raises `ValueError`, one line, where the search of the spec cannot use a source. `out` is the run's folder."""
    for folder in _folders(spec):
        if _same_folder(Storage(folder), out):
            raise ValueError(f"{_KEY} names {folder}, the folder of this search itself: name other runs")
    open_sources(spec)
    read_tables(spec)


def read_tables(spec: Spec) -> list[SourceRun]:
    """Returns the parts of the tables that the spec names; raises `ValueError`, one line, for one that is of no use."""
    found: list[SourceRun] = []
    for address in filter(is_table, spec.search.warm_start):
        if spec.task != DEFAULT_TASK:
            raise ValueError(f"{_KEY}: {address} is a table of language models, this search's task is {spec.task}")
        try:
            parts = table_sources(address)
        except ValueError as error:
            raise ValueError(f"{_KEY}: {error}") from None
        if {item.run_id for item in parts} & {item.run_id for item in found}:
            raise ValueError(f"{_KEY}: {address} is the same table as another source: name it once")
        found += parts
    return found


def open_sources(spec: Spec, *, own_id: str | None = None) -> list[OpenedSource]:
    """Returns the source runs in the order of the spec; raises `ValueError`, one line, where the search cannot use one.

    `own_id` is the id of the search's own run.
    """
    stores = [_opened(folder, spec=spec) for folder in _folders(spec)]
    places: dict[str, str] = {}
    for folder, store in zip(_folders(spec), stores, strict=True):
        run_id = store.info.run_id
        if run_id == own_id:
            raise ValueError(f"{_KEY} names {folder}, this run itself: name other runs")
        if run_id in places:
            raise ValueError(f"{_KEY}: {places[run_id]} and {folder} are the same run, {run_id}: name it once")
        places[run_id] = folder
    names = Counter(store.info.name for store in stores)
    return [
        OpenedSource(
            address=folder,
            store=store,
            records=_complete_records(store),
            title=store.info.name if names[store.info.name] == 1 else f"{store.info.name} ({store.info.run_id})",
        )
        for folder, store in zip(_folders(spec), stores, strict=True)
    ]


def _folders(spec: Spec) -> list[str]:
    """Returns the folders of the source runs."""
    return [address for address in spec.search.warm_start if not is_table(address)]


def _opened(folder: str, *, spec: Spec) -> RunStore:
    """Returns the run of a folder; raises `ValueError` where there is none, or one of another task."""
    storage = Storage(folder)
    if storage.is_local and not Path(storage.root).is_dir():
        raise ValueError(f"{_KEY}: {folder}: no such folder: name the folder of a run, or a table (.parquet)")
    try:
        store = RunStore.open(folder)
        store.check_links()
    except ValueError as error:
        raise ValueError(f"{_KEY}: {error}") from None
    info, quality = store.info, spec.make_task().quality.title
    if info.task != spec.task:
        raise ValueError(f"{_KEY}: the task of {folder} is {info.task}, this search's is {spec.task}: {_NAME_ANOTHER}")
    # Runs of earlier versions do not name it; their task has only one.
    if info.quality not in ("", quality):
        raise ValueError(f"{_KEY}: {folder} judges by {info.quality}, this search by {quality}: {_NAME_ANOTHER}")
    return store


def _complete_records(store: RunStore) -> tuple[Record, ...]:
    complete = (item for item in store.records() if item.state == "complete")
    records = tuple(item for item in complete if item.loss is not None and math.isfinite(item.loss))
    if not records:
        more = f" ({store.problems[0]})" if store.problems else ""
        raise ValueError(f"{_KEY}: {store.where} has no complete record{more}: name a run that trained to the end")
    return records


def _same_folder(first: Storage, second: Storage) -> bool:
    if first.is_local and second.is_local:
        return os.path.realpath(first.root) == os.path.realpath(second.root)
    return (first.is_local, first.root) == (second.is_local, second.root) and first.where == second.where


def recorded_architecture(record: Record) -> Architecture | None:
    """Returns the architecture of a record; `None` where its columns give another id, as in other versions."""
    try:
        found = architecture_of(record) if record.head is None else architecture_from_dict(json.loads(record.head))
    except ValueError:
        return None
    return found if found.id == record.architecture_id else None
