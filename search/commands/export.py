"""`depthweave export`: architectures of a run as folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthweave.reports.analysis.held_out import held_out_text
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.selection import select_from
from depthweave.reports.analysis.verdict_text import why_not_settled
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.export import check_formats, check_target, export
from depthweave.reports.formatting import plural
from depthweave.reports.store.objectives import column_value, reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore, checkpoint_name
from depthweave.search.commands.problems import print_problems
from depthweave.search.console import Terminal
from depthweave.search.taggers import export_head, is_tagging
from depthweave.spaces.model_files import MODEL_FILE


def export_selected(run: str, *, out: Path, select: str, where: str | None, formats: Sequence[str]) -> None:
    """Exports the selected records and prints a line for each: one into `out`, several into folders inside it."""
    graphs = check_formats(tuple(formats))
    check_target(out)
    store, console = RunStore.open(run), Terminal()
    if graphs and is_tagging(store):
        raise ValueError(f"--format {graphs[0]}: is for language models; leave it out for a run of heads")
    records = store.records()
    # Before the selection: a record that could not be read may be the wanted one.
    print_problems(store)
    view = RunView.of(records, objectives=store.info.objectives, tolerances=store.info.tolerance_of)
    rules = list(dict.fromkeys(item.strip() for item in select.split(",") if item.strip())) or [select]
    # All are selected before the first is written.
    chosen = {rule: select_from(view, how=rule, where=where) for rule in rules}
    quality = reported_quality(view.objectives)
    for rule, record in chosen.items():
        name = record.architecture_id if rule.startswith("id:") else rule
        target = out / name if len(chosen) > 1 else out
        verdict = view.verdicts.get(record.architecture_id)
        record = _with_weights(store, records, chosen=record)
        if is_tagging(store):
            export_head(store, record, out=target, verdict=verdict)
        else:
            export(store, record, out=target, verdict=verdict, formats=graphs)
        value = f"{quality} {column_value(record, quality):.3f}"
        console.say(f"{target}: architecture {record.architecture_id}, {value}{_on_test(verdict)}")
        if verdict is not None and not verdict.settled:
            prefix = "" if rule.startswith("id:") else "no settled member fits: "
            console.say(f"{prefix}its place on the front is not settled ({why_not_settled(verdict)})")


def _on_test(verdict: Verdict | None) -> str:
    """Returns the quality of a confirmed architecture on the test part; empty where there is none."""
    if verdict is None or verdict.test is None:
        return ""
    value, interval = held_out_text(verdict.test)
    over = plural(verdict.test.interval.num, "fresh seed")
    return f", test {verdict.test.quality} {value} over {over}" + (f" ({interval})" if interval else "")


def _with_weights(store: RunStore, records: Sequence[Record], *, chosen: Record) -> Record:
    """Returns the chosen record, or one of the same architecture with another seed if only its weights were kept."""
    same = [it for it in records if it.architecture_id == chosen.architecture_id and it.state == "complete"]
    kept = [it for it in (chosen, *same) if store.has_file(f"{checkpoint_name(it.trial)}/{MODEL_FILE}")]
    return kept[0] if kept else chosen
