"""The front as rows for JSON and as tables for the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from depthweave.reports.analysis.distinct import distinct_text, twins_of
from depthweave.reports.analysis.held_out import held_out_text
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.selection import RULES, select_from
from depthweave.reports.analysis.source_runs import taken_caption
from depthweave.reports.analysis.training_tokens import language_model_ratios, range_phrase, tokens_per_parameter
from depthweave.reports.analysis.verdict_text import probability_text
from depthweave.reports.analysis.verdicts import MIN_PROBABILITY, MIN_SEEDS, Verdict, verdict_values
from depthweave.reports.filled_columns import filled_columns
from depthweave.reports.formatting import ESTIMATE_TEXT, fusion_word, short_name, show, show_quality
from depthweave.reports.store.objectives import OBJECTIVES, column_value, table_columns
from depthweave.reports.store.records import Record
from depthweave.reports.store.tolerance import tolerance_text
from depthweave.reports.wirings import marker_of, rule_of, wiring_name, wiring_phrase

_COLUMNS = (
    "trial",
    "architecture_id",
    "seed",
    "reference",
    "taken_from",
    "fusion",
    "rule",
    "dilation",
    "period",
    "depth",
    "parameters",
)
"""Columns of `front_rows` before those of the objectives."""

_TWIN = "≈"
"""Mark of a twin."""
_MOST_SKEWED = 1.25
"""Largest ratio of the halves of an interval that is written with one number."""


def front_rows(
    records: Sequence[Record], *, objectives: Sequence[str], tolerances: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Returns the rows of `view_rows` for these records."""
    return view_rows(RunView.of(records, objectives=objectives, tolerances=tolerances))


def view_rows(view: RunView) -> list[dict[str, Any]]:
    """Returns the members of the joint front, by the first objective, as values for JSON (units as in `Record`).

    `selected_by` lists the rules of `--select` that choose the row. `twin_of` is the id of the distinct member that
    represents it, or its own id. Rows of a confirmed run also have the columns of `VERDICT_COLUMNS`.
    """
    verdicts, chosen, twins = view.verdicts, selected_trials(view), twins_of(view.groups)
    columns = _row_columns(view.objectives)
    return [
        {
            **{name: column_value(member, name) for name in columns},
            "tokens_per_parameter": tokens_per_parameter(member),
            "rule": None if (rule := rule_of(member)) is None else rule.text,
            **(verdict_values(verdicts[member.architecture_id]) if verdicts else {}),
            "twin_of": twins[member.architecture_id],
            "selected_by": [rule for rule, trial in chosen.items() if trial == member.trial],
        }
        for member in view.front
    ]


def selected_trials(view: RunView) -> dict[str, int]:
    """Returns the trial that each rule of `--select` chooses; a rule that chooses none is left out."""
    chosen = {}
    for rule in RULES:
        try:
            found = select_from(view, how=rule)
        except ValueError:
            # No trial is complete, or the rule's column was not measured.
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
    """Returns the table of `view_table` for these records."""
    return view_table(RunView.of(records, objectives=objectives, tolerances=tolerances), title=title)


def view_table(view: RunView, *, title: str | None = None) -> Table:
    """Returns the front as a table. With three objectives it fits a terminal of 80 columns.

    The wiring is dilation × period, or the text of its rule, which is explained below the table. An asterisk marks the
    reference, and the last column names the rule of `--select` that chooses the row. Twins are dim, with a mark, under
    the distinct member that represents them. Seeds are shown if there are several. In a confirmed run a perplexity is
    the mean over seeds with its 95 % interval, and a column has the probability of the place on the front.
    """
    verdicts, groups = view.verdicts, view.groups
    members = [member for group in groups for member in (group.member, *group.twins)]
    twins = {item.trial for group in groups for item in group.twins}
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    heads, cells = _value_columns(view, members)
    table.add_column("id", no_wrap=True, min_width=12)
    # With a confirmation's columns there is no room in 80 columns for a name of 14 characters.
    _add_wiring_column(table, members, whole_names=not verdicts)
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    captions = []
    if twins:
        within = tolerance_text(view.objectives, view.tolerances)
        captions.append(f"{distinct_text(groups)}: {_TWIN} is ahead of the last row without it by at most {within}")
    if verdicts:
        captions.append(
            "front: probability that the likeliest rival does not dominate it\n"
            f"?: not settled, below {100 * MIN_PROBABILITY:g} %, under {MIN_SEEDS} fresh seeds, or diverged"
        )
    if view.estimated & {member.architecture_id for member in members}:
        captions.append(ESTIMATE_TEXT)
    if ratios := language_model_ratios(members):
        captions.append(f"trained on {range_phrase(ratios)}")
    captions += [*taken_caption(members), *_phrases(members)]
    table.caption, table.caption_justify = "\n".join(captions) or None, "left"
    table.add_column("--select", min_width=8)
    chosen = selected_trials(view)
    for member, values in zip(members, cells, strict=True):
        rules = [rule for rule, trial in chosen.items() if trial == member.trial]
        table.add_row(
            member.architecture_id,
            (f"{_TWIN} " if member.trial in twins else "") + short_name(member) + ("*" if member.reference else ""),
            *values,
            ", ".join(rules),
            style="dim" if member.trial in twins else None,
        )
    return table


def _value_columns(view: RunView, members: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Returns the headings between the wiring and the rules, and the cells of each member."""
    verdicts, shown = view.verdicts, table_columns(view.objectives)
    seeds = not verdicts and len({member.seed for member in members}) > 1
    heads = ["depth", "params", *(["seed"] if seeds else []), *(OBJECTIVES[name].column_heading for name in shown)]
    cells = [
        [
            str(member.depth),
            show("parameters", member.parameters),
            *([str(member.seed)] if seeds else []),
            *(_cell(view, member, name) for name in shown),
            *([_probability_cell(verdicts[member.architecture_id])] if verdicts else []),
        ]
        for member in members
    ]
    return filled_columns([*heads, *(["front"] if verdicts else [])], cells)


def _add_wiring_column(table: Table, members: Sequence[Record], *, whole_names: bool) -> None:
    has_others = any(marker_of(member) == "other" for member in members)
    word = fusion_word(members)
    # The text of a rule may be long.
    table.add_column(
        f"{word} wiring" if has_others else f"{word} k×p",
        no_wrap=not has_others,
        overflow="fold",
        min_width=max((len(member.fusion) for member in members), default=0) if whole_names else 0,
    )


def _phrases(members: Sequence[Record]) -> list[str]:
    """Returns a line for each wiring that is not dilation × period."""
    others = [member for member in members if marker_of(member) == "other"]
    phrases: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for member in others:
        phrases[wiring_name(member)][wiring_phrase(member)].append(member.architecture_id)
    # Several graphs may have one name: 24 connections.
    return [
        f"{name if len(own) == 1 else ', '.join(ids)}: {phrase}"
        for name, own in phrases.items()
        for phrase, ids in own.items()
    ]


def held_out_table(view: RunView) -> Table | None:
    """Returns the perplexities on the test part; `None` if no confirmation has evaluated the front's members on it."""
    verdicts = view.verdicts
    members = [(item, verdicts[item.architecture_id]) for item in view.front if item.architecture_id in verdicts]
    if all(verdict.test is None for _, verdict in members):
        return None
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("id", no_wrap=True, min_width=12)
    _add_wiring_column(table, [member for member, _ in members], whole_names=True)
    quality = members[0][1].quality
    what = OBJECTIVES[quality].short.removeprefix("validation ")
    table.caption = f"{what} over fresh seeds; test, with its 95 % interval: on text that the search does not read"
    table.caption_justify = "left"
    found = [held_out_text(verdict.test) for _, verdict in members]
    heads, cells = filled_columns(
        ["depth", "validation", "test", "test interval"],
        [
            [str(member.depth), _quality_mean(view, member, verdict), test.value or "-", test.interval or "-"]
            for (member, verdict), test in zip(members, found, strict=True)
        ],
    )
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    for (member, _), values in zip(members, cells, strict=True):
        table.add_row(member.architecture_id, short_name(member), *values)
    return table


def _quality_mean(view: RunView, member: Record, verdict: Verdict) -> str:
    return show_quality(verdict.quality, verdict.quality_mean, estimated=member.architecture_id in view.estimated)


def _row_columns(objectives: Sequence[str]) -> list[str]:
    """Returns what a row of `front_rows` holds of a record: each objective is followed by its interval.

    Qualities of other tasks are left out.
    """
    known = [it for it in OBJECTIVES.values() if it.of_loss != "itself" or it.name in objectives]
    own = [column for item in known for column in (item.name, *item.interval_columns, *item.extra_columns)]
    return list(dict.fromkeys((*_COLUMNS, *own)))


def _cell(view: RunView, member: Record, name: str) -> str:
    own, verdict = member.architecture_id, view.verdicts.get(member.architecture_id)
    value = show_quality(name, column_value(member, name), estimated=own in view.estimated)
    if verdict is None or verdict.quality != name or verdict.quality_high is None:
        return value
    above = verdict.quality_high - verdict.quality_mean
    if verdict.quality_low is not None and above > _MOST_SKEWED * (verdict.quality_mean - verdict.quality_low):
        return f"{value} [{show(name, verdict.quality_low)}, {show(name, verdict.quality_high)}]"
    # One number is enough: the interval of the mean loss is almost symmetric in perplexity.
    return f"{value}±{show(name, above).removeprefix('0')}"


def _probability_cell(verdict: Verdict) -> str:
    return probability_text(verdict).replace(" ", "") + ("" if verdict.settled else "?")
