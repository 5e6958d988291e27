"""The hover text of a point: every parameter of its record."""

from __future__ import annotations

import html

from depthweave.reports.analysis.source_runs import taken_phrase
from depthweave.reports.analysis.verdict_text import interval_text, why_not_settled
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.formatting import STATE_WORDS, full_name, plural, show
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import Record


def hover_text(record: Record, *, verdict: Verdict | None = None) -> str:
    """Returns the record as lines of Plotly markup: what it is, what was measured and how it ended.

    A confirmed run gives a `verdict`; the record is then the mean of its architecture's seeds.
    """
    state = STATE_WORDS.get(record.state, record.state)
    taken = "" if record.taken_from is None else f", {taken_phrase(record)}"
    lines = [
        f"<b>{html.escape(full_name(record))}</b>" + (" (reference)" if record.reference else ""),
        f"id {html.escape(record.architecture_id)}, trial {record.trial}, seed {record.seed}",
        *(f"{it.short} {show(it.name, value)}" for it in OBJECTIVES.values() if (value := it.of(record)) is not None),
        f"width {record.width}, heads {record.heads}, feed-forward {record.feed_forward}",
        f"vocabulary {record.vocabulary:,}, context {record.context:,}, states kept {record.kept_states}",
        f"{state} after {record.tokens:,} tokens{html.escape(taken)}",
    ]
    if record.budget is not None:
        lines.insert(-1, f"budget {show('parameters', record.budget)}")
    if record.state != "complete" and record.last_loss is not None:
        lines.insert(2, f"last validation loss {show('loss', record.last_loss)}")
    if verdict is not None:
        interval = interval_text(verdict)
        seeds = f"mean of {plural(verdict.loss.num, 'fresh seed')}" if verdict.loss.num else "the search's seed only"
        lines.insert(2, seeds + (f", 95 % interval {interval}" if interval else ""))
        place = "settled" if verdict.settled else f"not settled: {html.escape(why_not_settled(verdict))}"
        lines.insert(3, f"place on the front: {place}")
    return "<br>".join(lines)
