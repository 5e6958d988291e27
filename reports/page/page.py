"""The report of a run: what its page says, of what the store holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from depthweave.reports.analysis.device_kinds import kinds_sentence
from depthweave.reports.analysis.distinct import Group, distinct_text, front_groups, twins_of
from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.held_out import HeldOutText, held_out_text
from depthweave.reports.analysis.recommend import recommendation
from depthweave.reports.analysis.regret import pruning_regret, regret_sentence
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.analysis.summary import answer_sentence, outcome_sentence, summarise
from depthweave.reports.analysis.verdict_text import (
    confirmation_sentence,
    difference_text,
    interval_text,
    probability_text,
    settled_sentences,
    why_not_settled,
)
from depthweave.reports.analysis.verdicts import Verdict, verdicts_of
from depthweave.reports.figures.key import KeyEntry, key_of
from depthweave.reports.formatting import STATE_WORDS, full_name, plural, short_name, show, title_of
from depthweave.reports.page.explorer import Explorer, explorer_of, export_command
from depthweave.reports.page.methods import method_notes
from depthweave.reports.page.rendering import render_page
from depthweave.reports.page.sections import (
    MAX_WEIGHT_MEMBERS,
    Section,
    at_equal_cost,
    connections,
    course_of_search,
    dilation_and_period,
    learning,
    what_matters,
)
from depthweave.reports.store.objectives import quality_of
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_info import RunInfo
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.tolerance import tolerance_text
from depthweave.reports.terminal.table import selected_trials

_MAX_FAILURES = 100
_SCRIPTS = ("svg.js", "card.js", "front.js", "report.js")
"""In this order: each uses those before it."""


class VerdictCells(NamedTuple):
    """What a confirmation found of a member of the front, as it stands in the table."""

    num_seeds: int
    interval: str
    test: HeldOutText
    """On the test part."""
    difference: tuple[str, str]
    """Against the plain architecture: the mean, and its interval or nothing."""
    probability: str
    why_not_settled: str
    """Empty where the place is settled."""


class FrontRow(NamedTuple):
    """A member of the front as it stands in the table."""

    id: str
    trial: int
    name: str
    twin: bool
    """Whether it is one of the distinct member above it."""
    reference: bool
    depth: int
    parameters: str
    seed: int
    values: list[str]
    rules: str
    command: str
    verdict: VerdictCells | None


class Failure(NamedTuple):
    """A trial that did not end as planned."""

    trial: int
    name: str
    state: str
    reason: str
    attempts: int


class Page(NamedTuple):
    """All that the template prints; text, not markup, but for the figures' JSON."""

    title: str
    happened: str
    answer: list[str]
    running: bool
    stamp: str
    explorer: Explorer | None
    """The interactive front; `None` where there is nothing to draw."""
    front_caption: str
    recommendation: str
    """What to take without limits, in words; the page's script says the same of any."""
    limit_titles: dict[str, str]
    sections: list[Section]
    key: list[list[KeyEntry]]
    heads: list[str]
    rows: list[FrontRow]
    distinct: str
    """How many members are distinct, and by which tolerances; empty where all are."""
    failures: list[Failure]
    num_failures_left_out: int
    stops: list[tuple[str, int]]
    methods: list[tuple[str, str]]
    infeasible: tuple[str, ...]
    problems: list[str]
    spec: str


def write_report(store: RunStore, *, running: bool = False) -> str:
    """The run's `report.html` is new and whole; returns its path. `running` says that the search goes on."""
    page = page_of(store, running=running)
    store.write_bytes("report.html", render(page).encode())
    return store.report_path


def page_of(store: RunStore, *, running: bool = False) -> Page:
    """What the report says, from what the store holds now; an empty run gives a page that says so."""
    records = store.records()
    info = store.info
    search = searched(records)
    verdicts = verdicts_of(records, objectives=info.objectives, tolerances=info.tolerance_of)
    groups = front_groups(records, objectives=info.objectives, tolerances=info.tolerance_of, verdicts=verdicts)
    members = front(records, objectives=info.objectives)
    failures = [it for it in records if it.state in ("failed", "diverged")]
    summary = summarise(search)
    evaluations = store.evaluations()
    explorer = explorer_of(
        records,
        run=store.where,
        objectives=info.objectives,
        verdicts=verdicts,
        twins=twins_of(groups),
        evaluations=evaluations,
        weights=store.weights,
    )
    sections = [
        at_equal_cost(records, evaluations=evaluations, verdicts=verdicts),
        dilation_and_period(records),
        connections(
            store.weights({it.trial for it in members[:MAX_WEIGHT_MEMBERS]}),
            members=members,
            plain=[it for it in search if it.fusion == "none" and it.state == "complete"],
        ),
        what_matters(records, objectives=info.objectives),
        learning(search, evaluations=evaluations, members=members),
        course_of_search(search, objectives=info.objectives),
    ]
    return Page(
        title=info.name,
        happened=outcome_sentence(summary, info=info)
        + regret_sentence(pruning_regret(search, objectives=info.objectives))
        + confirmation_sentence(records)
        + kinds_sentence(records, objectives=info.objectives),
        answer=[*answer_sentence(records, info=info), *settled_sentences(members, verdicts=verdicts)],
        running=running,
        stamp=max(it.finished_at for it in records).strftime("%Y-%m-%d %H:%M UTC") if records else "",
        explorer=explorer,
        front_caption=_front_caption(explorer) if explorer else "",
        recommendation=recommendation(records, objectives=info.objectives, limits={}, verdicts=verdicts),
        limit_titles={name: title_of(name) for name in explorer.limits} if explorer else {},
        sections=[section for section in sections if section.figures or section.tables],
        key=key_of(records, verdicts=verdicts) if records else [],
        heads=[title_of(name) for name in _shown(info.objectives)],
        rows=_rows(records, groups=groups, store=store, verdicts=verdicts),
        distinct=_distinct(groups, info=info),
        failures=[_failure(it) for it in failures[:_MAX_FAILURES]],
        num_failures_left_out=max(0, len(failures) - _MAX_FAILURES),
        stops=_stops(records),
        methods=method_notes(records, info=info),
        infeasible=info.infeasible,
        problems=store.problems,
        spec=store.spec_yaml if store.info.spec or store.has_file("spec.yaml") else "",
    )


def render(page: Page) -> str:
    """The page as HTML; everything that came from outside is escaped."""
    return render_page(
        "report.html.j2",
        page=page,
        scripts=_SCRIPTS,
        has_figures=any(section.figures for section in page.sections),
        data=page.explorer.data if page.explorer else None,
    )


def _front_caption(explorer: Explorer) -> str:
    """How to read the interactive front, of what it shows in this run."""
    points = explorer.data["points"]
    told = (
        "Lower left is better. The line is the front of the two axes among what is drawn, the broken ones are the "
        "plain architectures. Click a point, or go along the front with the arrow keys, for its card."
    )
    if "pruned" in points["state"]:
        told += (
            " Trials stopped early stand at the perplexity of their last evaluation and on no front; those beyond "
            "the frame are at its edge."
        )
    if points["low"]:
        told += " Bars are 95 % intervals."
    if "perplexity" in points["low"]:
        told += (
            " Those of perplexity are of the mean over fresh seeds; a seed moves all architectures of one size "
            "together, so two may differ for certain though their bars overlap. Hollow members are not settled on the "
            "front of all objectives."
        )
    if explorer.num_left_out:
        told += (
            f" Not drawn, for the page's weight: {plural(explorer.num_left_out, 'trial')} that no front needs, "
            "dominated or stopped. Every front, whatever is chosen, is whole."
        )
    return told


def _rows(
    records: Sequence[Record], *, groups: Sequence[Group], store: RunStore, verdicts: Mapping[str, Verdict]
) -> list[FrontRow]:
    """Each distinct member, its twins below it."""
    info = store.info
    chosen = selected_trials(records, objectives=info.objectives, verdicts=verdicts, tolerances=info.tolerance_of)
    seeds = Counter(it.architecture_id for it in records if it.state == "complete")
    rows = []
    for member, twin in ((it, it is not group.member) for group in groups for it in (group.member, *group.twins)):
        rows.append(
            FrontRow(
                twin=twin,
                id=member.architecture_id,
                trial=member.trial,
                name=short_name(member),
                reference=member.reference,
                depth=member.depth,
                parameters=show("parameters", member.parameters),
                seed=member.seed,
                values=[_cell(member, name) for name in _shown(store.info.objectives)],
                rules=", ".join(rule for rule, trial in chosen.items() if trial == member.trial),
                command=export_command(store.where, member, num_seeds=seeds[member.architecture_id]),
                verdict=_verdict_cells(verdicts[member.architecture_id]) if verdicts else None,
            )
        )
    return rows


def _distinct(groups: Sequence[Group], *, info: RunInfo) -> str:
    if not any(group.twins for group in groups):
        return ""
    return (
        f"{distinct_text(groups)}. A twin, marked ≈, stands under a member that matches it within tolerance in every "
        f"objective: {tolerance_text(info.objectives, info.tolerance_of)}."
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


def _cell(record: Record, name: str) -> str:
    return show(name, getattr(record, name))


def _shown(objectives: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys((quality_of(objectives), *objectives)) if name != "parameters"]


def _failure(record: Record) -> Failure:
    return Failure(
        trial=record.trial,
        name=full_name(record),
        state=STATE_WORDS.get(record.state, record.state),
        reason=record.reason or "no reason recorded",
        attempts=record.attempts,
    )


def _stops(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Stopped trials by fusion and pattern, most first."""
    counts = Counter(short_name(it) for it in records if it.state == "pruned")
    return counts.most_common()
