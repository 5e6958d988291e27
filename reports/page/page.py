"""The report of a run: collects what the page says from the run store, and writes it as HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from depthweave.reports.analysis.device_kinds import kinds_sentence
from depthweave.reports.analysis.recommend import recommendation
from depthweave.reports.analysis.regret import pruning_regret, regret_sentence
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.analysis.sizes import sizes_of
from depthweave.reports.analysis.source_runs import taken_sentence, trained_here
from depthweave.reports.analysis.summary import answer_sentence, outcome_sentence, summarise, unfinished_sentence
from depthweave.reports.analysis.training_tokens import training_sentence
from depthweave.reports.analysis.verdict_text import confirmation_sentence, settled_sentences
from depthweave.reports.figures.key import KeyEntry, key_of
from depthweave.reports.figures.tagged_examples import TaggedExample
from depthweave.reports.formatting import STATE_WORDS, full_name, plural, short_name, title_of
from depthweave.reports.page.explorer import Explorer, explorer_of
from depthweave.reports.page.few_shot_sections import examples_of, few_shot_sections
from depthweave.reports.page.filters import named_by
from depthweave.reports.page.front_table import FrontTable, front_table
from depthweave.reports.page.methods import beginning_notes, method_notes
from depthweave.reports.page.quality_words import QualityWords, quality_words
from depthweave.reports.page.rendering import render_page
from depthweave.reports.page.sections import (
    MAX_WEIGHT_MEMBERS,
    Section,
    at_equal_cost,
    connections,
    course_of_search,
    learning,
    shared_connections,
    what_matters,
    wirings,
)
from depthweave.reports.page.size_section import size_section
from depthweave.reports.store.objectives import reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore

_MAX_FAILURES = 100
_SCRIPTS = (
    "svg.js",
    "points.js",
    "wiring.js",
    "card.js",
    "recommendation.js",
    "front_plot.js",
    "front_overlay.js",
    "front.js",
    "report.js",
)
"""In load order: each script uses those before it."""


class Failure(NamedTuple):
    """A trial that diverged or failed."""

    trial: int
    name: str
    state: str
    reason: str
    attempts: int


class Page(NamedTuple):
    """Everything that the template prints. All values are text, except the JSON of the figures."""

    title: str
    outcome: str
    """What the search did: its trials, its time and how they ended."""
    answer: list[str]
    running: bool
    stamp: str
    """When the last record was finished."""
    explorer: Explorer | None
    """The interactive front; `None` if there is nothing to draw."""
    front_caption: str
    recommendation: str
    """The recommendation without limits. The page's script replaces it when the reader sets limits."""
    limit_titles: dict[str, str]
    sections: list[Section]
    key: list[list[KeyEntry]]
    words: QualityWords
    front: FrontTable
    failures: list[Failure]
    num_failures_left_out: int
    stopped: list[tuple[str, int]]
    methods: list[tuple[str, str]]
    infeasible: tuple[str, ...]
    problems: list[str]
    spec: str


def write_report(store: RunStore, *, running: bool = False) -> str:
    """Replaces the run's `report.html` and returns its path. `running` means that the search is still running."""
    page = page_of(store, running=running)
    store.write_bytes("report.html", render(page).encode())
    return store.report_path


def page_of(store: RunStore, *, running: bool = False) -> Page:
    """Returns what the report says about the records that the store holds now. An empty run is allowed."""
    view, info = RunView.read(store), store.info
    records, members, verdicts = view.records, view.front, view.verdicts
    search = searched(records)
    failures = [it for it in records if it.state in ("failed", "diverged")]
    summary = summarise(trained_here(search))
    explorer = explorer_of(view, run=store.where, weights=store.weights)
    filters = explorer.filters if explorer else []
    examples, example_problems = examples_of(store)
    sources, source_problems = beginning_notes(store)
    sections = _sections(view, store=store, examples=examples)
    return Page(
        title=info.name,
        outcome=outcome_sentence(summary, info=info)
        + unfinished_sentence(records, begun=store.checkpointed())
        + taken_sentence(search)
        + training_sentence(search)
        + regret_sentence(pruning_regret(search, objectives=info.objectives))
        + confirmation_sentence(records)
        + kinds_sentence(records, objectives=info.objectives),
        answer=[*answer_sentence(records, info=info), *settled_sentences(members, verdicts=verdicts)],
        running=running,
        stamp=max(it.finished_at for it in records).strftime("%Y-%m-%d %H:%M UTC") if records else "",
        explorer=explorer,
        front_caption=_front_caption(explorer) if explorer else "",
        recommendation=recommendation(view, limits={}),
        limit_titles={name: title_of(name) for name in explorer.limits} if explorer else {},
        sections=[it for it in sections if it.figures or it.tables or it.sentences or it.examples],
        key=key_of(records, verdicts=verdicts, named=named_by(filters)) if records else [],
        words=quality_words(reported_quality(info.objectives)),
        front=front_table(view, store=store),
        failures=[_failure(it) for it in failures[:_MAX_FAILURES]],
        num_failures_left_out=max(0, len(failures) - _MAX_FAILURES),
        stopped=_stopped(records),
        methods=[*method_notes(records, info=info), *sources],
        infeasible=info.infeasible,
        problems=[*store.problems, *example_problems, *source_problems],
        spec=store.spec_yaml if store.info.spec or store.has_file("spec.yaml") else "",
    )


def render(page: Page) -> str:
    """Returns the page as HTML. All text from records and specs is escaped."""
    return render_page(
        "report.html.j2",
        page=page,
        scripts=_SCRIPTS,
        has_figures=any(section.figures for section in page.sections),
        data=page.explorer.data if page.explorer else None,
    )


def _sections(view: RunView, *, store: RunStore, examples: Sequence[TaggedExample]) -> list[Section]:
    """Returns the sections below the front. Heads on a host have their own in place of those about losses."""
    search, members, objectives = searched(view.records), view.front, view.objectives
    tagged = few_shot_sections(view.records, examples=examples)
    course = course_of_search(search, objectives=objectives)
    if tagged:
        return [*tagged, wirings(view), shared_connections(view), what_matters(view), course]
    return [
        at_equal_cost(view),
        size_section(sizes_of(view)),
        wirings(view),
        shared_connections(view),
        connections(
            store.weights({it.trial for it in members[:MAX_WEIGHT_MEMBERS]}),
            members=members,
            plain=[it for it in search if it.fusion == "none" and it.state == "complete"],
        ),
        what_matters(view),
        learning(view),
        course,
    ]


def _front_caption(explorer: Explorer) -> str:
    """Returns the caption of the interactive front; it explains only what this run's plot has."""
    points = explorer.data["points"]
    text = (
        "Lower left is better. The solid line is the front of the two axes among the points shown, dashed lines are "
        "the plain architectures. Click a point, or move along the front with the arrow keys, to see its card."
    )
    if "pruned" in points["state"]:
        text += (
            " Trials that were stopped early are shown at the value of their last evaluation and are never on the "
            "front. Those outside the plot are drawn at its edge."
        )
    if points["low"]:
        text += " Bars are 95 % intervals."
    if "perplexity" in points["low"]:
        text += (
            " Perplexity bars are for the mean over fresh seeds. A seed shifts all architectures of one size together, "
            "so two of them can differ significantly although their bars overlap. Hollow markers are members whose "
            "place on the front of all objectives is not settled."
        )
    if explorer.num_left_out:
        text += (
            f" To keep the page small, {plural(explorer.num_left_out, 'trial')} that no front needs, dominated or "
            "stopped, are not shown. The front is complete for every choice of axes and filters."
        )
    return text


def _failure(record: Record) -> Failure:
    return Failure(
        trial=record.trial,
        name=full_name(record),
        state=STATE_WORDS.get(record.state, record.state),
        reason=record.reason or "no reason recorded",
        attempts=record.attempts,
    )


def _stopped(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Returns the number of stopped trials of each fusion and pattern, most first."""
    counts = Counter(short_name(it) for it in records if it.state == "pruned")
    return counts.most_common()
