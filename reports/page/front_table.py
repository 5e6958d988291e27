"""The table of the front on the page: its rows and columns as texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from depthweave.reports.analysis.distinct import distinct_text
from depthweave.reports.analysis.held_out import HeldOutText, held_out_text
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.source_runs import taken_phrase
from depthweave.reports.analysis.training_tokens import ratio_cell
from depthweave.reports.analysis.verdict_text import difference_text, interval_text, probability_text, why_not_settled
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.filled_columns import filled_columns, has_value, shared_columns
from depthweave.reports.formatting import ESTIMATE_TEXT, short_name, show, show_quality, title_of
from depthweave.reports.page.explorer_points import export_command
from depthweave.reports.store.objectives import column_value, table_columns
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.tolerance import tolerance_text
from depthweave.reports.terminal.table import selected_trials


class VerdictCells(NamedTuple):
    """What a confirmation found about a member of the front, for the table."""

    num_seeds: int
    interval: str
    test: HeldOutText
    """Its loss on the test part of the corpus."""
    difference: tuple[str, str]
    """The mean difference to the plain architecture and its interval, which may be empty."""
    probability: str
    why_not_settled: str
    """Empty if the place is settled."""


class FrontRow(NamedTuple):
    """A row of the table: one member of the front."""

    id: str
    trial: int
    name: str
    twin: bool
    """Whether it is ahead of the distinct member above it by no more than the tolerances."""
    reference: bool
    values: list[str]
    """In the order of `FrontTable.columns`."""
    facts: list[str]
    """In the order of `FrontTable.facts`."""
    rules: str
    """The rules of `--select` that choose it: "best, knee"."""
    taken_over: str
    """"taken over from RUN"; empty if this run trained it."""
    command: str
    verdict: VerdictCells | None


class FrontTable(NamedTuple):
    """The table. Columns without any value are left out."""

    columns: list[str]
    """Titles of the objectives."""
    facts: list[str]
    """Titles of the columns after those of a confirmation, in which rows differ."""
    shared_facts: str
    """The facts that all rows share: "depth 12, seed 0"; empty if there are none."""
    rows: list[FrontRow]
    confirmed: bool
    """Whether the rows have verdicts."""
    tested: bool
    """Whether one has a value on the test part."""
    compared: bool
    """Whether one has a difference to the plain architecture."""
    estimate_note: str
    """What the mark of an estimated loss means; empty if no row has it."""
    twins_note: str
    """How many members are distinct and by which tolerances; empty if there are no twins."""


def front_table(view: RunView, *, store: RunStore) -> FrontTable:
    """Returns the table with a row for each distinct member, followed by its twins."""
    verdicts = view.verdicts
    members = [(it, it is not group.member) for group in view.groups for it in (group.member, *group.twins)]
    names = table_columns(view.objectives)
    columns, values = filled_columns(
        [title_of(name) for name in names],
        [[_value(view, member, name) for name in names] for member, _ in members],
    )
    facts, facts_of_rows = filled_columns(
        ["depth", "parameters", "tokens a parameter", "fresh seeds" if verdicts else "seed"],
        [_facts(member, verdicts.get(member.architecture_id)) for member, _ in members],
    )
    shared, facts, facts_of_rows = shared_columns(facts, facts_of_rows)
    rows = _rows(view, members, store=store, values=values, facts=facts_of_rows)
    cells = [it.verdict for it in rows if it.verdict is not None]
    return FrontTable(
        columns=columns,
        facts=facts,
        shared_facts=", ".join(f"{title} {value}" for title, value in shared),
        rows=rows,
        confirmed=bool(cells),
        tested=any(has_value(it.test.value) for it in cells),
        compared=any(has_value(it.difference[0]) for it in cells),
        estimate_note=ESTIMATE_TEXT if view.estimated & {member.architecture_id for member, _ in members} else "",
        twins_note=_twins_note(view),
    )


def _value(view: RunView, member: Record, name: str) -> str:
    return show_quality(name, column_value(member, name), estimated=member.architecture_id in view.estimated)


def _rows(
    view: RunView,
    members: Sequence[tuple[Record, bool]],
    *,
    store: RunStore,
    values: Sequence[list[str]],
    facts: Sequence[list[str]],
) -> list[FrontRow]:
    chosen, verdicts = selected_trials(view), view.verdicts
    seeds = Counter(it.architecture_id for it in view.records if it.state == "complete")
    rows = []
    for (member, twin), own_values, own_facts in zip(members, values, facts, strict=True):
        rows.append(
            FrontRow(
                twin=twin,
                id=member.architecture_id,
                trial=member.trial,
                name=short_name(member),
                reference=member.reference,
                values=own_values,
                facts=own_facts,
                rules=", ".join(rule for rule, trial in chosen.items() if trial == member.trial),
                taken_over=taken_phrase(member),
                command=export_command(store.where, member, num_seeds=seeds[member.architecture_id]),
                verdict=_verdict_cells(verdicts[member.architecture_id]) if verdicts else None,
            )
        )
    return rows


def _twins_note(view: RunView) -> str:
    if not any(group.twins for group in view.groups):
        return ""
    return (
        f"{distinct_text(view.groups)}. A twin, marked ≈, is ahead of the member above it by no more than the "
        f"tolerances: {tolerance_text(view.objectives, view.tolerances)}. In other objectives it may be far behind."
    )


def _verdict_cells(verdict: Verdict) -> VerdictCells:
    return VerdictCells(
        num_seeds=verdict.loss.num,
        interval=interval_text(verdict),
        test=held_out_text(verdict.test),
        difference=difference_text(verdict),
        probability=probability_text(verdict),
        why_not_settled=why_not_settled(verdict),
    )


def _facts(member: Record, verdict: Verdict | None) -> list[str]:
    return [
        str(member.depth),
        show("parameters", member.parameters),
        ratio_cell(member),
        str(member.seed if verdict is None else verdict.loss.num),
    ]
