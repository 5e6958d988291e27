"""The sections of the page below the front: drawings, tables and sentences under one heading each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from markupsafe import Markup

from depthweave.reports.figures.curves import curves_data, draw_curves
from depthweave.reports.figures.grid import Grid
from depthweave.reports.figures.progress import draw_progress, progress_data
from depthweave.reports.figures.weights import draw_weight_courses, draw_weight_map, weight_courses, weight_map
from depthweave.reports.records import Record
from depthweave.reports.words import full_name, plural, short_name

MAX_WEIGHT_MEMBERS = 12


class Figure(NamedTuple):
    """One drawing on the page."""

    id: str
    json: Markup
    caption: str
    height: int
    """Pixels that it takes, known before it is drawn."""
    title: str = ""
    choice: str = ""
    """Label in the list where several drawings share one place; empty where this one stands alone."""


class Section(NamedTuple):
    """Drawings under one heading; those with a `choice` are shown one group at a time."""

    title: str
    figures: list[Figure]
    choices: Sequence[str] = ()
    told: Sequence[str] = ()
    tables: Sequence[Grid] = ()
    tables_caption: str = ""


def script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: no character of it can end the element or open a tag."""
    return _safe(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def learning(records: Sequence[Record], *, evaluations: pa.Table, members: Sequence[Record]) -> Section:
    """Learning curves of the search, stops marked."""
    data = curves_data(records, evaluations=evaluations, on_front={it.trial for it in members})
    told = "Strong curves end on the front. A cross marks where one was stopped. Double-click for the whole range."
    if data.num_left_out:
        told += f" {plural(data.num_left_out, 'faint curve')} not drawn."
    figures = [_figure("curves", draw_curves(data), caption=told)] if data.curves else []
    return Section("Learning curves", figures)


def connections(weights: pa.Table, *, members: Sequence[Record]) -> Section:
    """What the members of the front learnt to read, and when."""
    figures, choices = [], []
    for member in members[:MAX_WEIGHT_MEMBERS]:
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


def course_of_search(records: Sequence[Record], *, objectives: Sequence[str]) -> Section:
    """How the front grew."""
    data = progress_data(records, objectives=objectives)
    told = (
        "Hypervolume of the front after each finished trial, as a share of the box between the run's best values "
        "and its reference point (a tenth of the range beyond the worst complete trial)."
    )
    figures = [_figure("progress", draw_progress(data), caption=told)] if data.trials else []
    return Section("How the search went", figures)


def _figure(name: str, drawing: Any, *, caption: str, choice: str = "", title: str = "") -> Figure:
    height = int(drawing.layout.height)
    return Figure(name, _safe(drawing.to_json(engine="json")), caption, height, title=title, choice=choice)


def _safe(text: str) -> Markup:
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
