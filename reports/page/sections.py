"""The sections of the page below the front: drawings, tables and sentences under one heading each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.figures.curves import curves_data, draw_curves
from depthweave.reports.figures.differences import differences_data, differences_sentence, draw_differences
from depthweave.reports.figures.grid import Grid
from depthweave.reports.figures.importance import MIN_EXPLAINED, importance_grid
from depthweave.reports.figures.matched import at_equal_latency, at_equal_parameters, at_equal_time
from depthweave.reports.figures.parallel import draw_parallel, parallel_data
from depthweave.reports.figures.patterns import pattern_grids
from depthweave.reports.figures.progress import draw_progress, progress_data
from depthweave.reports.figures.states import cosines_data, draw_cosines, norms_of
from depthweave.reports.figures.timeline import draw_timeline, timeline_data, timeline_sentence
from depthweave.reports.figures.weights import (
    draw_weight_courses,
    draw_weight_map,
    times_norms,
    weight_courses,
    weight_map,
)
from depthweave.reports.formatting import full_name, plural, short_name
from depthweave.reports.page.rendering import Figure, figure_of
from depthweave.reports.store.records import Record

MAX_WEIGHT_MEMBERS = 12


class Section(NamedTuple):
    """Drawings under one heading; those with a `choice` are shown one group at a time."""

    title: str
    figures: list[Figure]
    choices: Sequence[str] = ()
    told: Sequence[str] = ()
    tables: Sequence[Grid] = ()
    tables_caption: str = ""


def learning(records: Sequence[Record], *, evaluations: pa.Table, members: Sequence[Record]) -> Section:
    """Learning curves of the search, stops marked."""
    data = curves_data(records, evaluations=evaluations, on_front={it.trial for it in members})
    told = "Strong curves end on the front. A cross marks where one was stopped. Double-click for the whole range."
    if data.num_left_out:
        told += f" {plural(data.num_left_out, 'faint curve')} not drawn."
    figures = [figure_of("curves", draw_curves(data), caption=told)] if data.curves else []
    return Section("Learning curves", figures)


def connections(weights: pa.Table, *, members: Sequence[Record], plain: Sequence[Record]) -> Section:
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
        figures.append(figure_of(f"map-{member.trial}", draw_weight_map(last), caption=told, choice=choice))
        courses = weight_courses(weights, trial=member.trial)
        told = f"The same weights through training, {plural(len(courses), 'connection')}."
        drawing = draw_weight_courses(courses)
        figures.append(figure_of(f"course-{member.trial}", drawing, caption=told, choice=choice))
        norms = norms_of(member)
        if norms is not None:
            told = "Weight times the mean norm of the state that it weighs: how much of the sum comes from where."
            drawing = draw_weight_map(times_norms(last, norms), title="weight × norm")
            figures.append(figure_of(f"norm-{member.trial}", drawing, caption=told, choice=choice))
    lines = cosines_data(members, plain=plain)
    if lines:
        told = (
            "How much of the embedding is left in what each block reads, mean over validation tokens: the front's "
            "members and the plain architectures, in the fusions' colours."
        )
        figures.append(figure_of("cosines", draw_cosines(lines), caption=told, title="The embedding by depth"))
    return Section("What the connections learnt", figures, choices)


def at_equal_cost(view: RunView) -> Section:
    """The fusions against each other, and each architecture against plain."""
    grids = [
        at_equal_parameters(view.averaged, verdicts=view.verdicts),
        at_equal_latency(view.averaged),
        at_equal_time(view.records, evaluations=view.evaluations),
    ]
    tables = [grid for grid in grids if grid is not None]
    told = (
        "Of each fusion the pattern (dilation × period, blocks) with the lowest loss; blue is the lowest of a column. "
        "It was chosen by these same runs, which flatters. Parameters and latency: perplexity. Training time: "
        "validation loss, nat/token, after a share of the time that the reference trains, by measured training-step "
        "latency; the learning-rate schedule ends with the tokens, so that a slower training is judged before its end."
    )
    if view.verdicts:
        told += " Small, at equal parameters: loss against plain, nat/token, with its 95 % interval."
    data = differences_data(view.averaged, verdicts=view.verdicts)
    caption = (
        "Loss less that of the plain architecture of the same depth and budget, mean over fresh seeds with its 95 % "
        "interval (Student's t over seeds, and what the choice of the validation text adds). Left of the line is "
        "better than plain; hollow is not settled."
    )
    figures = [figure_of("differences", draw_differences(data), caption=caption, title="Against plain")] if data else []
    several = len({it.fusion for it in view.records if it.state == "complete"}) > 1
    sentences = [differences_sentence(data)] if several else []
    caption = told if tables else ""
    return Section("Fusions at equal cost", figures, told=sentences, tables=tables, tables_caption=caption)


def dilation_and_period(view: RunView) -> Section:
    """Perplexity over the patterns of each fusion."""
    told = (
        "Perplexity, and the loss against the plain architecture of the same depth and budget (nat/token) where it is "
        "complete; blue is below plain, orange above, one scale for all. k is the dilation, p the period; an empty "
        "cell was not tried or cannot be built. Differences of one seed are not settled."
    )
    return Section("Dilation and period", [], tables=pattern_grids(view.averaged), tables_caption=told)


def what_matters(view: RunView) -> Section:
    """The importance of each axis, and all architectures across all axes."""
    grid = importance_grid(view.averaged, objectives=view.objectives)
    told = (
        "Share of each objective's variance that goes with an axis, by a model of single axes and pairs (shares of "
        "axes that act together count in each, so that a column may sum to more than 100 %). The last row is the "
        "share of variance that the model predicts of architectures left out of its fit; below "
        f"{100 * MIN_EXPLAINED:.0f} % nothing is said. Of the architectures that the search chose to train, not of the "
        "whole space."
    )
    data = parallel_data(view.records, objectives=view.objectives)
    caption = "Each line is a complete architecture; blue ones stand on the front. Lower is better on every objective."
    if data.num_left_out:
        caption += f" {plural(data.num_left_out, 'line')} off the front not drawn."
    figures = []
    if len(data.uprights) > 1:
        figures = [figure_of("parallel", draw_parallel(data), caption=caption, title="Choices and objectives")]
    return Section("What matters", figures, tables=[grid] if grid else [], tables_caption=told if grid else "")


def course_of_search(records: Sequence[Record], *, objectives: Sequence[str]) -> Section:
    """How the front grew, and what the workers did."""
    data = progress_data(records, objectives=objectives)
    told = (
        "Hypervolume of the front after each finished trial, as a share of the box between the run's best values "
        "and its reference point (a tenth of the range beyond the worst complete trial)."
    )
    figures = []
    if data.trials:
        figures = [
            figure_of("progress", draw_progress(data), caption=told, title="By trials", half=True),
            figure_of(
                "progress-tokens",
                draw_progress(data, over="tokens"),
                caption="The same over the tokens that all trials trained on until then.",
                title="By tokens",
                half=True,
            ),
        ]
    timeline = timeline_data(records)
    if timeline.spans:
        told = (
            "From start to end of each trial, in the fusion's colour; faint where it was paused in between. Records "
            "name no worker: a row is one slot that was free, and a paused trial keeps its own."
        )
        if timeline.num_left_out:
            told += f" {plural(timeline.num_left_out, 'trial')} not drawn."
        figures.append(figure_of("timeline", draw_timeline(timeline), caption=told, title="Workers"))
    sentence = timeline_sentence(timeline)
    return Section("How the search went", figures, told=[sentence] if sentence else [])
