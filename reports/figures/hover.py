"""What appears beside a point under the pointer: every parameter of its record."""

from __future__ import annotations

import html

from depthweave.reports.records import Record
from depthweave.reports.words import STATE_WORDS, full_name, show

_COLUMNS = (
    ("perplexity", "perplexity"),
    ("latency", "latency"),
    ("step_latency", "step latency"),
    ("memory_bytes", "step memory"),
    ("forward_memory_bytes", "forward memory"),
    ("parameters", "parameters"),
    ("forward_flops", "operations"),
)


def hover_text(record: Record) -> str:
    """The record in lines, as Plotly's markup: what it is, what was measured, how it ended."""
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
    return "<br>".join(lines)
