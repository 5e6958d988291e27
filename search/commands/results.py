"""`depthweave show`, `report` and `export`: what a run found."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console

from depthweave.reports.confirmation import why_not_settled
from depthweave.reports.export import export
from depthweave.reports.kinds import kinds_sentence
from depthweave.reports.page import write_report
from depthweave.reports.selection import select as select_record
from depthweave.reports.store import RunStore
from depthweave.reports.table import front_rows, front_table
from depthweave.reports.verdicts import verdicts_of

_WATCH_S = 10.0
"""Between two looks at a run that goes on."""


def show_front(run: str, *, as_json: bool, watch: bool = False) -> None:
    """Print the front of a run; `watch`: again and again as it changes, until Ctrl-C."""
    seen: list[object] | None = None
    while True:
        store = RunStore.open(run)
        now: list[object] = [(item.trial, item.state, item.latency) for item in store.records()]
        if now != seen or not watch:
            _show(store, as_json=as_json)
        if not watch:
            return
        seen = now
        time.sleep(_WATCH_S)


def _show(store: RunStore, *, as_json: bool) -> None:
    records, objectives = store.records(), store.info.objectives
    if as_json:
        print(json.dumps(front_rows(records, objectives=objectives), indent=2))
    else:
        Console().print(front_table(records, objectives=objectives))
        if left_out := kinds_sentence(records, objectives=objectives).strip():
            Console().print(left_out, markup=False, highlight=False, soft_wrap=True)
    _print_problems(store)


def make_report(run: str) -> None:
    """Write the report and print where it stands."""
    store = RunStore.open(run)
    print(write_report(store))
    _print_problems(store)


def export_selected(run: str, *, out: Path, select: str, where: str | None) -> None:
    """Export the selected record and say what it is."""
    store = RunStore.open(run)
    records, objectives = store.records(), store.info.objectives
    verdicts = verdicts_of(records, objectives=objectives)
    record = select_record(records, how=select, objectives=objectives, where=where, verdicts=verdicts)
    verdict = verdicts.get(record.architecture_id)
    export(store, record, out=out, verdict=verdict)
    print(f"{out}: architecture {record.architecture_id}, perplexity {record.perplexity:.3f}")
    if verdict is not None and not verdict.settled:
        none = "" if select.startswith("id:") else "no settled member fits: "
        print(f"{none}its place on the front is not settled ({why_not_settled(verdict)})")
    _print_problems(store)


def _print_problems(store: RunStore) -> None:
    for line in store.problems:
        Console(stderr=True).print(f"left out: {line}", markup=False, highlight=False, soft_wrap=True)
