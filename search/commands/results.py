"""`depthweave export`: one architecture of a run as files."""

from __future__ import annotations

from pathlib import Path

from depthweave.reports.confirmation import why_not_settled
from depthweave.reports.export import export
from depthweave.reports.selection import select as select_record
from depthweave.reports.store import RunStore
from depthweave.reports.verdicts import verdicts_of
from depthweave.search.commands.problems import print_problems


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
    print_problems(store)
