"""What appears beside a point under the pointer: every parameter of its record."""

from __future__ import annotations

import html

from depthweave.reports.analysis.verdict_text import interval_text, why_not_settled
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.formatting import STATE_WORDS, full_name, plural, show
from depthweave.reports.store.records import Record

_COLUMNS = (
    ("perplexity", "perplexity"),
    ("error", "validation error"),
    ("latency", "latency"),
    ("step_latency", "step latency"),
    ("decode_latency", "decoding latency"),
    ("memory_bytes", "step memory"),
    ("forward_memory_bytes", "forward memory"),
    ("parameters", "parameters"),
    ("forward_flops", "operations"),
)


def hover_text(record: Record, *, verdict: Verdict | None = None) -> str:
    """The record in lines, as Plotly's markup: what it is, what was measured, how it ended.

    `verdict` is that of a run that was confirmed: the record is then the mean of its architecture's seeds.
    """
    state = STATE_WORDS.get(record.state, record.state)
    lines = [
        f"<b>{html.escape(full_name(record))}</b>" + (" (reference)" if record.reference else ""),
        f"id {html.escape(record.architecture_id)}, trial {record.trial}, seed {record.seed}",
        *(f"{label} {show(name, value)}" for name, label in _COLUMNS if (value := getattr(record, name)) is not None),
        f"width {record.width}, heads {record.heads}, feed-forward {record.feed_forward}",
        f"vocabulary {record.vocabulary:,}, context {record.context:,}, states kept {record.kept_states}",
        f"{state} after {record.tokens:,} tokens",
    ]
    if record.budget is not None:
        lines.insert(-1, f"budget {show('parameters', record.budget)}")
    if record.state != "complete" and record.last_loss is not None:
        lines.insert(2, f"last validation loss {show('loss', record.last_loss)}")
    if verdict is not None:
        interval = interval_text(verdict)
        told = f"mean of {plural(verdict.loss.num, 'fresh seed')}" if verdict.loss.num else "the search's seed alone"
        lines.insert(2, told + (f", 95 % {interval}" if interval else ""))
        place = "settled" if verdict.settled else f"not settled: {html.escape(why_not_settled(verdict))}"
        lines.insert(3, f"its place on the front: {place}")
    return "<br>".join(lines)
