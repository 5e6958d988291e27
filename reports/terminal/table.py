"""The front as plain rows, for JSON and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from depthweave.reports.analysis.distinct import distinct_text, front_groups, twins_of
from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.held_out import held_out_text
from depthweave.reports.analysis.selection import RULES, select
from depthweave.reports.analysis.verdict_text import probability_text
from depthweave.reports.analysis.verdicts import MIN_PROBABILITY, MIN_SEEDS, Verdict, verdict_values, verdicts_of
from depthweave.reports.formatting import short_name, show
from depthweave.reports.store.objectives import quality_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import tolerance_text

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
    "step_latency_low",
    "step_latency_high",
    "decode_latency",
    "decode_latency_low",
    "decode_latency_high",
    "memory_bytes",
    "forward_memory_bytes",
    "forward_flops",
)

_TWIN = "≈"

_SHORT = {
    "bits_per_byte": "bit/byte",
    "step_latency": "step",
    "decode_latency": "decode",
    "memory_bytes": "memory",
    "forward_memory_bytes": "fwd memory",
    "forward_flops": "fwd flop",
}
"""Column heads where the record's own name is too long for a terminal."""


def front_rows(
    records: Sequence[Record], *, objectives: Sequence[str], tolerances: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """The members of the joint front, by the first objective, as values that JSON takes (units as in `Record`).

    `selected_by` lists the rules of `--select` that name the row, `twin_of` is the id of the distinct member that
    stands for it, its own where it is one. Once a run is confirmed, a row has the columns of `VERDICT_COLUMNS` too.
    """
    verdicts = verdicts_of(records, objectives=objectives, tolerances=tolerances)
    chosen = selected_trials(records, objectives=objectives, tolerances=tolerances, verdicts=verdicts)
    twins = twins_of(front_groups(records, objectives=objectives, tolerances=tolerances, verdicts=verdicts))
    return [
        {
            **{name: getattr(member, name) for name in dict.fromkeys((*_COLUMNS, quality_of(objectives)))},
            **(verdict_values(verdicts[member.architecture_id]) if verdicts else {}),
            "twin_of": twins[member.architecture_id],
            "selected_by": [rule for rule, trial in chosen.items() if trial == member.trial],
        }
        for member in front(records, objectives=objectives)
    ]


def selected_trials(
    records: Sequence[Record],
    *,
    objectives: Sequence[str],
    verdicts: Mapping[str, Verdict] | None = None,
    tolerances: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """Which trial each rule of `--select` names; a rule that names none is left out."""
    chosen = {}
    for rule in RULES:
        try:
            found = select(records, how=rule, objectives=objectives, verdicts=verdicts, tolerances=tolerances)
        except ValueError:
            # Nothing complete, or its column was not measured: the rule has no row to mark.
            continue
        chosen[rule] = found.trial
    return chosen


def front_table(
    records: Sequence[Record],
    *,
    objectives: Sequence[str],
    tolerances: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Table:
    """The front as a table that fits a terminal of 80 columns where the objectives are three.

    The pattern is dilation × period, an asterisk marks the reference, and the last column names
    the rule of `--select` that chooses the row. Twins stand, dim and with a sign, under the distinct member that stands
    for them. Seeds are shown where there are several. Once a run is confirmed, a
    perplexity is the mean over seeds with its 95 % interval, and a column says how probable the place on the front is.
    """
    verdicts = verdicts_of(records, objectives=objectives, tolerances=tolerances)
    groups = front_groups(records, objectives=objectives, tolerances=tolerances, verdicts=verdicts)
    members = [member for group in groups for member in (group.member, *group.twins)]
    twins = {item.trial for group in groups for item in group.twins}
    seeds = not verdicts and len({member.seed for member in members}) > 1
    shown = [name for name in dict.fromkeys((quality_of(objectives), *objectives)) if name != "parameters"]
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
    captions = []
    if twins:
        captions.append(
            f"{distinct_text(groups)}: {_TWIN} a twin of the one above, within {tolerance_text(objectives, tolerances)}"
        )
    if verdicts:
        table.add_column("front", justify="right", no_wrap=True)
        captions.append(
            "front: how sure that its likeliest rival does not dominate it; "
            f"? not settled: below {100 * MIN_PROBABILITY:g} %, under {MIN_SEEDS} fresh seeds, or diverged"
        )
    table.caption, table.caption_justify = "\n".join(captions) or None, "left"
    table.add_column("--select", min_width=8)
    chosen = selected_trials(records, objectives=objectives, verdicts=verdicts, tolerances=tolerances)
    for member in members:
        rules = [rule for rule, trial in chosen.items() if trial == member.trial]
        table.add_row(
            member.architecture_id,
            (f"{_TWIN} " if member.trial in twins else "") + short_name(member) + ("*" if member.reference else ""),
            str(member.depth),
            show("parameters", member.parameters),
            *([str(member.seed)] if seeds else []),
            *(_cell(member, name, verdict=verdicts.get(member.architecture_id)) for name in shown),
            *([_place(verdicts[member.architecture_id])] if verdicts else []),
            ", ".join(rules),
            style="dim" if member.trial in twins else None,
        )
    return table


def held_out_table(
    records: Sequence[Record], *, objectives: Sequence[str], tolerances: Mapping[str, float] | None = None
) -> Table | None:
    """What the test part says of the front's members; `None` before a confirmation has evaluated any of them there."""
    verdicts = verdicts_of(records, objectives=objectives, tolerances=tolerances)
    members = [
        (item, verdicts[item.architecture_id])
        for item in front(records, objectives=objectives)
        if item.architecture_id in verdicts
    ]
    if all(verdict.test is None for _, verdict in members):
        return None
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("id", no_wrap=True, min_width=12)
    table.add_column("fusion k×p", no_wrap=True)
    for name in ("depth", "validation", "test", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.caption = "perplexity over fresh seeds; test: on text that the search did not read"
    table.caption_justify = "left"
    for member, verdict in members:
        found = held_out_text(verdict.test)
        table.add_row(
            member.architecture_id,
            short_name(member),
            str(member.depth),
            show("perplexity", math.exp(verdict.loss.mean)),
            found.value or "-",
            found.interval or "-",
        )
    return table


def _cell(member: Record, name: str, *, verdict: Verdict | None) -> str:
    value = show(name, getattr(member, name))
    if verdict is None or name != "perplexity" or verdict.perplexity_high is None:
        return value
    # One number must do here: the interval of the mean loss is all but symmetric in perplexity.
    half_width = show(name, verdict.perplexity_high - math.exp(verdict.loss.mean))
    return f"{value}±{half_width.removeprefix('0')}"


def _place(verdict: Verdict) -> str:
    return probability_text(verdict).replace(" ", "") + ("" if verdict.settled else "?")
