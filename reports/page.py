"""The report of a run: one HTML file that needs nothing else, no network and no server."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from depthweave.reports.confirmation import (
    confirmation_sentence,
    difference_text,
    interval_text,
    probability_text,
    settled_sentences,
    why_not_settled,
)
from depthweave.reports.figures.curves import curves_data, draw_curves
from depthweave.reports.figures.key import KeyEntry, key_of
from depthweave.reports.figures.palette import template
from depthweave.reports.figures.pareto import ParetoData, draw_pareto, pareto_data
from depthweave.reports.figures.pareto3d import draw_pareto3d, pareto3d_data
from depthweave.reports.figures.progress import draw_progress, progress_data
from depthweave.reports.figures.weights import draw_weight_courses, draw_weight_map, weight_courses, weight_map
from depthweave.reports.front import front
from depthweave.reports.kinds import kinds_sentence
from depthweave.reports.methods import method_notes
from depthweave.reports.objectives import OBJECTIVES
from depthweave.reports.records import Record
from depthweave.reports.regret import pruning_regret, regret_sentence
from depthweave.reports.seeds import searched
from depthweave.reports.store import RunStore
from depthweave.reports.summary import answer, happened, summarise
from depthweave.reports.table import selected_trials
from depthweave.reports.verdicts import Verdict, verdicts_of
from depthweave.reports.words import STATE_WORDS, full_name, plural, short_name, show, title_of

_MAX_WEIGHT_MEMBERS = 12
_MAX_FAILURES = 100


class Figure(NamedTuple):
    """One drawing on the page."""

    id: str
    json: Markup
    caption: str
    choice: str = ""
    """Label in the list where several drawings share one place; empty where this one stands alone."""


class Section(NamedTuple):
    """Drawings under one heading; those with a `choice` are shown one group at a time."""

    title: str
    figures: list[Figure]
    choices: list[str]


class VerdictCells(NamedTuple):
    """What a confirmation found of a member of the front, as it stands in the table."""

    num_seeds: int
    interval: str
    difference: tuple[str, str]
    """Against the plain architecture: the mean, and its interval or nothing."""
    probability: str
    why_not_settled: str
    """Empty where the place is settled."""


class FrontRow(NamedTuple):
    """A member of the front as it stands in the table."""

    id: str
    name: str
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
    sections: list[Section]
    key: list[list[KeyEntry]]
    heads: list[str]
    rows: list[FrontRow]
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
    verdicts = verdicts_of(records, objectives=info.objectives)
    members = front(records, objectives=info.objectives)
    failures = [it for it in records if it.state in ("failed", "diverged")]
    summary = summarise(search)
    sections = [
        _fronts(records, objectives=info.objectives, verdicts=verdicts),
        _learning(search, evaluations=store.evaluations(), members=members),
        _weights(store.weights({it.trial for it in members[:_MAX_WEIGHT_MEMBERS]}), members=members),
        _search(search, objectives=info.objectives),
    ]
    return Page(
        title=info.name,
        happened=happened(summary, info=info)
        + regret_sentence(pruning_regret(search, objectives=info.objectives))
        + confirmation_sentence(records)
        + kinds_sentence(records, objectives=info.objectives),
        answer=[*answer(records, info=info), *settled_sentences(members, verdicts=verdicts)],
        running=running,
        stamp=max(it.finished_at for it in records).strftime("%Y-%m-%d %H:%M UTC") if records else "",
        sections=[section for section in sections if section.figures],
        key=key_of(records, verdicts=verdicts) if records else [],
        heads=[title_of(name) for name in _shown(info.objectives)],
        rows=_rows(records, members=members, store=store, verdicts=verdicts),
        failures=[_failure(it) for it in failures[:_MAX_FAILURES]],
        num_failures_left_out=max(0, len(failures) - _MAX_FAILURES),
        stops=_stops(records),
        methods=method_notes(records, info=info),
        infeasible=info.infeasible,
        problems=store.problems,
        spec=store.spec_yaml if store.has_file("spec.yaml") else "",
    )


def render(page: Page) -> str:
    """The page as HTML; everything that came from outside is escaped."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        page=page,
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        script=Markup((folder / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
        templates=script_json({"light": template(dark=False), "dark": template(dark=True)}),
    )


def script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: no character of it can end the element or open a tag."""
    return _safe(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _safe(text: str) -> Markup:
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _figure(name: str, drawing: Any, *, caption: str, choice: str = "") -> Figure:
    return Figure(id=name, json=_safe(drawing.to_json(engine="json")), caption=caption, choice=choice)


def _fronts(records: Sequence[Record], *, objectives: Sequence[str], verdicts: Mapping[str, Verdict]) -> Section:
    costs = [name for name in objectives if OBJECTIVES[name].cost]
    quality = _quality(objectives)
    figures = []
    for cost in costs:
        data = pareto_data(records, cost=cost, quality=quality, verdicts=verdicts)
        if data.points:
            figures.append(_figure(f"pareto-{cost}", draw_pareto(data), caption=_pareto_caption(data, cost)))
    if len(costs) >= 2:
        solid = pareto3d_data(records, costs=(costs[0], costs[1]), quality=quality)
        if solid.points:
            told = (
                "The three objectives together; strong markers stand on their common front. Turn it with the pointer."
            )
            if solid.num_thinned:
                told += f" {plural(solid.num_thinned, 'trial')} off the front not drawn."
            figures.append(_figure("pareto-3d", draw_pareto3d(solid), caption=told))
    return Section("What each cost buys", figures, [])


def _pareto_caption(data: ParetoData, cost: str) -> str:
    told = (
        f"{data.y_title.capitalize()} against {title_of(cost)}; lower left is better. The line is the front of the two."
    )
    if any("(" in label.text for label in data.labels):
        told += " In brackets, the depth."
    stopped = sum(1 for point in data.points if point.role == "stopped early")
    if stopped:
        told += " Trials stopped early stand at the perplexity of their last evaluation and on no front."
    if data.num_above:
        told += " Those beyond the frame are marked at its upper edge."
    if any(point.x_low is not None for point in data.points):
        told += " Horizontal bars are 95 % intervals."
    if any(point.y_low is not None for point in data.points):
        told += (
            " Vertical bars are 95 % intervals of the mean over seeds; seeds move all architectures together, so two "
            "may differ for certain though their bars overlap. Hollow members are not settled on the front of all "
            "objectives."
        )
    if data.num_thinned:
        told += f" {plural(data.num_thinned, 'trial')} off the front not drawn."
    if data.num_without:
        told += f" {plural(data.num_without, 'trial')} without these values left out."
    return told


def _learning(records: Sequence[Record], *, evaluations: pa.Table, members: Sequence[Record]) -> Section:
    data = curves_data(records, evaluations=evaluations, on_front={it.trial for it in members})
    told = "Strong curves end on the front. A cross marks where one was stopped. Double-click for the whole range."
    if data.num_left_out:
        told += f" {plural(data.num_left_out, 'faint curve')} not drawn."
    figures = [_figure("curves", draw_curves(data), caption=told)] if data.curves else []
    return Section("Learning curves", figures, [])


def _weights(weights: pa.Table, *, members: Sequence[Record]) -> Section:
    figures, choices = [], []
    for member in members[:_MAX_WEIGHT_MEMBERS]:
        last = weight_map(weights, trial=member.trial)
        if last is None:
            continue
        choice = f"{full_name(member)} ({member.architecture_id}, seed {member.seed})"
        choices.append(choice)
        told = (
            f"Connection weights of {short_name(member)} after {last.tokens:,} tokens: a row is a site, a column "
            "what it reads. Symmetric-logarithmic colour; a dynamic weight is its mean over validation tokens."
        )
        figures.append(_figure(f"map-{member.trial}", draw_weight_map(last), caption=told, choice=choice))
        courses = weight_courses(weights, trial=member.trial)
        told = f"The same weights through training, {plural(len(courses), 'connection')}."
        drawing = draw_weight_courses(courses)
        figures.append(_figure(f"course-{member.trial}", drawing, caption=told, choice=choice))
    return Section("What the connections learnt", figures, choices)


def _search(records: Sequence[Record], *, objectives: Sequence[str]) -> Section:
    data = progress_data(records, objectives=objectives)
    told = (
        "Hypervolume of the front after each finished trial, as a share of the box between the run's best values "
        "and its reference point (a tenth of the range beyond the worst complete trial)."
    )
    figures = [_figure("progress", draw_progress(data), caption=told)] if data.trials else []
    return Section("How the search went", figures, [])


def _rows(
    records: Sequence[Record], *, members: Sequence[Record], store: RunStore, verdicts: Mapping[str, Verdict]
) -> list[FrontRow]:
    chosen = selected_trials(records, objectives=store.info.objectives, verdicts=verdicts)
    seeds = Counter(it.architecture_id for it in records if it.state == "complete")
    rows = []
    for member in members:
        select = ["--select", f"id:{member.architecture_id}"]
        if seeds[member.architecture_id] > 1:
            select += ["--where", f"seed=={member.seed}"]
        out = f"exports/{member.architecture_id}"
        rows.append(
            FrontRow(
                id=member.architecture_id,
                name=short_name(member),
                reference=member.reference,
                depth=member.depth,
                parameters=show("parameters", member.parameters),
                seed=member.seed,
                values=[_cell(member, name) for name in _shown(store.info.objectives)],
                rules=", ".join(rule for rule, trial in chosen.items() if trial == member.trial),
                command=shlex.join(["depthweave", "export", store.where, *select, "--out", out]),
                verdict=_verdict_cells(verdicts[member.architecture_id]) if verdicts else None,
            )
        )
    return rows


def _verdict_cells(verdict: Verdict) -> VerdictCells:
    return VerdictCells(
        num_seeds=verdict.loss.num,
        interval=interval_text(verdict),
        difference=difference_text(verdict),
        probability=probability_text(verdict),
        why_not_settled=why_not_settled(verdict),
    )


def _cell(record: Record, name: str) -> str:
    return show(name, getattr(record, name))


def _shown(objectives: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(("perplexity", *objectives)) if name != "parameters"]


def _quality(objectives: Sequence[str]) -> str:
    losses = [name for name in objectives if not OBJECTIVES[name].cost]
    return "perplexity" if "perplexity" in losses or not losses else losses[0]


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
