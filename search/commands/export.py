"""`depthweave export`: one architecture of a run as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthweave.reports.analysis.held_out import held_out_text
from depthweave.reports.analysis.selection import select as select_record
from depthweave.reports.analysis.verdict_text import why_not_settled
from depthweave.reports.analysis.verdicts import Verdict, verdicts_of
from depthweave.reports.export import MODEL_FILE, check_formats, check_target, export
from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import quality_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore, checkpoint_name
from depthweave.search.commands.problems import print_problems


def export_selected(run: str, *, out: Path, select: str, where: str | None, formats: Sequence[str]) -> None:
    """Export the selected records and say what they are: one into `out`, several into a folder each inside it."""
    graphs = check_formats(tuple(formats))
    check_target(out)
    store = RunStore.open(run)
    records, objectives = store.records(), store.info.objectives
    # Before the choice: what could not be read may be what was looked for.
    print_problems(store)
    tolerances = store.info.tolerance_of
    verdicts = verdicts_of(records, objectives=objectives, tolerances=tolerances)
    rules = list(dict.fromkeys(item.strip() for item in select.split(",") if item.strip())) or [select]
    # All of them before the first is written.
    chosen = {
        rule: select_record(
            records, how=rule, objectives=objectives, where=where, verdicts=verdicts, tolerances=tolerances
        )
        for rule in rules
    }
    quality = quality_of(objectives)
    for rule, record in chosen.items():
        name = record.architecture_id if rule.startswith("id:") else rule
        target = out / name if len(chosen) > 1 else out
        verdict = verdicts.get(record.architecture_id)
        record = _with_weights(store, records, chosen=record)
        export(store, record, out=target, verdict=verdict, formats=graphs)
        value = f"{quality} {getattr(record, quality):.3f}"
        print(f"{target}: architecture {record.architecture_id}, {value}{_on_test(verdict)}")
        if verdict is not None and not verdict.settled:
            none = "" if rule.startswith("id:") else "no settled member fits: "
            print(f"{none}its place on the front is not settled ({why_not_settled(verdict)})")


def _on_test(verdict: Verdict | None) -> str:
    """The test perplexity of an architecture that was confirmed; nothing where there is none."""
    if verdict is None or verdict.test is None:
        return ""
    value, interval = held_out_text(verdict.test)
    over = plural(verdict.test.num, "fresh seed")
    return f", test perplexity {value} over {over}" + (f" ({interval})" if interval else "")


def _with_weights(store: RunStore, records: Sequence[Record], *, chosen: Record) -> Record:
    """The chosen record, or the same architecture with another seed where only that one's weights were kept."""
    same = [it for it in records if it.architecture_id == chosen.architecture_id and it.state == "complete"]
    kept = [it for it in (chosen, *same) if store.has_file(f"{checkpoint_name(it.trial)}/{MODEL_FILE}")]
    return kept[0] if kept else chosen
