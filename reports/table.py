"""The front as plain rows, for JSON and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from depthweave.reports.front import front
from depthweave.reports.records import Record
from depthweave.reports.selection import RULES, select
from depthweave.reports.words import short_name, show

_COLUMNS = (
    "trial",
    "architecture_id",
    "seed",
    "reference",
    "fusion",
    "dilation",
    "period",
    "depth",
    "parameters",
    "perplexity",
    "bits_per_byte",
    "latency",
    "latency_low",
    "latency_high",
    "trial_latency",
    "step_latency",
    "memory_bytes",
    "forward_memory_bytes",
    "forward_flops",
)

_SHORT = {
    "bits_per_byte": "bit/byte",
    "step_latency": "step",
    "memory_bytes": "memory",
    "forward_memory_bytes": "fwd memory",
    "forward_flops": "fwd flop",
}
"""Column heads where the record's own name is too long for a terminal."""


def front_rows(records: Sequence[Record], *, objectives: Sequence[str]) -> list[dict[str, Any]]:
    """The members of the joint front, by the first objective, as values that JSON takes (units as in `Record`).

    `selected_by` lists the rules of `--select` that name the row.
    """
    chosen = selected_trials(records, objectives=objectives)
    return [
        {
            **{name: getattr(member, name) for name in _COLUMNS},
            "selected_by": [rule for rule, trial in chosen.items() if trial == member.trial],
        }
        for member in front(records, objectives=objectives)
    ]


def selected_trials(records: Sequence[Record], *, objectives: Sequence[str]) -> dict[str, int]:
    """Which trial each rule of `--select` names; a rule that names none is left out."""
    chosen = {}
    for rule in RULES:
        try:
            chosen[rule] = select(records, how=rule, objectives=objectives).trial
        except ValueError:
            # Nothing complete, or its column was not measured: the rule has no row to mark.
            continue
    return chosen


def front_table(records: Sequence[Record], *, objectives: Sequence[str], title: str | None = None) -> Table:
    """The front as a table that fits a terminal of 80 columns where the objectives are three.

    The pattern is dilation × period, an asterisk marks the reference, and the last column names
    the rule of `--select` that chooses the row. Seeds are shown where there are several.
    """
    members = front(records, objectives=objectives)
    seeds = len({member.seed for member in members}) > 1
    shown = [name for name in dict.fromkeys(("perplexity", *objectives)) if name != "parameters"]
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("id", no_wrap=True, min_width=12)
    table.add_column("fusion k×p", no_wrap=True)
    for name in ("depth", "params", *(["seed"] if seeds else []), *(_SHORT.get(name, name) for name in shown)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("--select", min_width=8)
    chosen = selected_trials(records, objectives=objectives)
    for member in members:
        rules = [rule for rule, trial in chosen.items() if trial == member.trial]
        table.add_row(
            member.architecture_id,
            short_name(member) + ("*" if member.reference else ""),
            str(member.depth),
            show("parameters", member.parameters),
            *([str(member.seed)] if seeds else []),
            *(show(name, getattr(member, name)) for name in shown),
            ", ".join(rules),
        )
    return table
