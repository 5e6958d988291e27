"""Begins a search with other runs, or resumes it with what was kept of them.

`warm_start.json` is written once, after the records are taken over and before anything is measured or trained. A start
that was interrupted before that is repeated and needs the sources; a later one reads the file.
"""

from __future__ import annotations

import numpy as np

from depthweave.reports.analysis.source_runs import start_line
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.warm_start import (
    NO_WARM_START,
    WARM_START_FILE,
    SourceRun,
    WarmStart,
    has_warm_start,
    read_warm_start,
    write_warm_start,
)
from depthweave.search.parameters import Parameters
from depthweave.search.search_run import SearchRun
from depthweave.search.surrogate.transfer import SourceLosses
from depthweave.search.warm_start.identity import RunConditions
from depthweave.search.warm_start.selection import Selection, select_records
from depthweave.search.warm_start.sources import open_sources, read_tables
from depthweave.search.warm_start.taking_over import take_over
from depthweave.spaces.hosted import architecture_from_dict


def begin_warm_start(run: SearchRun, *, local: bool) -> WarmStart:
    """Takes over records and keeps the losses of the sources, once for each run, and prints a line for each source.

    `local`: trials run on this machine. Raises `ValueError`, one line, where a source cannot be used or what was kept
    cannot be read.
    """
    if not run.prepared.spec.search.warm_start:
        return NO_WARM_START
    if has_warm_start(run.store):
        found = read_warm_start(run.store)
    else:
        _check_not_begun(run)
        found = _begun(run, local=local)
    for source in found.sources:
        run.progress.on_note(start_line(source))
    return found


def source_losses(store: RunStore, warm_start: WarmStart) -> list[SourceLosses]:
    """Returns what the search learns from; raises `ValueError`, one line, where the file holds no architectures."""
    try:
        return [
            SourceLosses(
                name=item.name,
                architectures=tuple(architecture_from_dict(values) for values in item.architectures),
                losses_S=np.array(item.losses, dtype=np.float64),
            )
            for item in warm_start.sources
            if item.losses
        ]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"{store.where}/{WARM_START_FILE}: cannot be read ({' '.join(str(error).split())[:160]}): restore it, or "
            "start a new run"
        ) from None


def _begun(run: SearchRun, *, local: bool) -> WarmStart:
    run.progress.on_phase("reading what the search starts from")
    sources = open_sources(run.prepared.spec, own_id=run.store.info.run_id)
    for source in sources:
        for problem in source.store.problems:
            run.progress.on_note(f"{source.address}: {problem}")
    selections = select_records(
        sources,
        ours=RunConditions(run, local=local),
        objectives=run.prepared.spec.objectives,
        parameters=Parameters(run.prepared.space),
    )
    taken = take_over(run, selections)
    kept = tuple(_kept(item, taken_over=own) for item, own in zip(selections, taken, strict=True))
    found = WarmStart(run_id=run.store.info.run_id, sources=(*kept, *read_tables(run.prepared.spec)))
    write_warm_start(run.store, found)
    return found


def _kept(selection: Selection, *, taken_over: dict[int, int]) -> SourceRun:
    source = selection.source
    return SourceRun(
        name=source.title,
        run_id=source.store.info.run_id,
        address=source.address,
        num_records=len(source.records),
        taken_over=taken_over,
        differs=selection.differs,
        architectures=tuple(item.to_dict() for item in selection.architectures),
        losses=selection.losses,
    )


def _check_not_begun(run: SearchRun) -> None:
    """Raises `ValueError` where the search has begun, and so decided with a file that is gone."""
    if run.journal.path.exists() or any(item.taken_from is None for item in run.store.records()):
        raise ValueError(
            f"{run.store.where}/{WARM_START_FILE}: is missing, and the search decided with it: restore it, or start a "
            "new run"
        )
