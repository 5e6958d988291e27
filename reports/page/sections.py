"""The sections of the page below the front: each has a heading, sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from depthweave.reports.analysis.gain_courses import gain_courses, shrinking_sentence
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.analysis.strided_rivals import rivals_sentences, strided_rivals
from depthweave.reports.figures.curves import curves_data, draw_curves
from depthweave.reports.figures.differences import differences_data, differences_sentence, draw_differences
from depthweave.reports.figures.gain_courses import draw_gain_courses
from depthweave.reports.figures.grid import Grid
from depthweave.reports.figures.importance import MIN_EXPLAINED, importance_grid
from depthweave.reports.figures.matched import at_equal_latency, at_equal_parameters, at_equal_time
from depthweave.reports.figures.parallel import draw_parallel, parallel_data
from depthweave.reports.figures.patterns import pattern_grids
from depthweave.reports.figures.progress import draw_progress, progress_data
from depthweave.reports.figures.rivals import rivals_grid
from depthweave.reports.figures.shared import draw_differences_in_share, draw_shares, shared_maps, shared_sentence
from depthweave.reports.figures.states import cosines_data, draw_cosines, norms_of
from depthweave.reports.figures.tagged_examples import Example
from depthweave.reports.figures.timeline import draw_timeline, timeline_data, timeline_sentence
from depthweave.reports.figures.weights import (
    draw_weight_courses,
    draw_weight_map,
    times_norms,
    weight_courses,
    weight_map,
)
from depthweave.reports.formatting import full_name, plural, short_name
from depthweave.reports.page.quality_words import quality_words
from depthweave.reports.page.rendering import Figure, figure_of
from depthweave.reports.store.objectives import QUALITY, reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import marker_of

MAX_WEIGHT_MEMBERS = 12
"""Members of the front whose connection weights are shown."""
_ONLY_PLAIN = "Only plain architectures were tried, so there are no connections to compare."


class Section(NamedTuple):
    """A heading and what is below it. Figures with a `choice` are shown one group at a time."""

    title: str
    figures: list[Figure]
    choices: Sequence[str] = ()
    choices_title: str = "Front member"
    sentences: Sequence[str] = ()
    tables: Sequence[Grid] = ()
    tables_caption: str = ""
    examples: Sequence[Example] = ()
    """Sentences with marked entities."""


def learning(view: RunView) -> Section:
    """Returns the learning curves of the search, and how the differences to plain change in their course."""
    on_front = {it.trial for it in view.front}
    data = curves_data(searched(view.records), evaluations=view.evaluations, on_front=on_front)
    caption = (
        "Strong curves are members of the front. A cross marks a training that was stopped. Double-click to see the "
        "whole range."
    )
    if data.num_left_out:
        caption += f" Faint curves that are not shown: {data.num_left_out:,}."
    figures = [figure_of("curves", draw_curves(data), caption=caption)] if data.curves else []
    courses = gain_courses(view)
    if not courses:
        return Section("Learning curves", figures)
    caption = (
        "Loss minus that of the plain architecture of the same depth, budget and seed, for the front's distinct "
        "members; the mean where there are several seeds. Below the line is better. A line that rises towards it loses "
        "its gain."
    )
    figures.append(
        figure_of("gain-courses", draw_gain_courses(courses), caption=caption, title="Against plain, as they train")
    )
    return Section("Learning curves", figures, sentences=[shrinking_sentence(courses)])


def shared_connections(view: RunView) -> Section:
    """Returns the connections that members of the front have more or less often than all architectures tried."""
    title = "Connections that good members share"
    maps = shared_maps(view)
    if not view.front or not maps:
        return Section(title, [], sentences=[_ONLY_PLAIN] if view.front else [])
    sentences = [
        "The search tries what promises most, and connections of one rule come together, so a difference shows which "
        "connections go with a place on the front and not which ones cause it."
    ]
    without = [plural(data.depth, "block") for data in maps if not data.num_members]
    if without:
        sentences.append(f"No distinct member of the front has {' or '.join(without)}.")
    figures, choices = [], []
    for data in maps:
        if not data.num_members:
            continue
        choice = plural(data.depth, "block")
        choices.append(choice)
        caption = (
            f"Share of the front's distinct members, {choice}, with each connection: a site (row) that reads an "
            "earlier state (column). Twins count once. A connection that no architecture has is empty."
        )
        figures.append(figure_of(f"shared-{data.depth}", draw_shares(data), caption=caption, choice=choice))
        caption = (
            "The same share minus that of all architectures tried. Blue: members have it more often. "
            f"{shared_sentence(data)}"
        )
        figure = draw_differences_in_share(data)
        figures.append(figure_of(f"shared-difference-{data.depth}", figure, caption=caption, choice=choice))
    return Section(title, figures, choices, choices_title="Depth", sentences=sentences)


def connections(weights: pa.Table, *, members: Sequence[Record], plain: Sequence[Record]) -> Section:
    """Returns the connection weights of the front's members, at the end of training and through it."""
    figures, choices = [], []
    for member in members[:MAX_WEIGHT_MEMBERS]:
        last = weight_map(weights, trial=member.trial)
        if last is None:
            continue
        choice = f"{full_name(member)} ({member.architecture_id}, seed {member.seed})"
        choices.append(choice)
        caption = (
            f"Connection weights of {short_name(member)} after {last.tokens:,} tokens. Each row is a site, each column "
            "a state that it reads. The colour scale is symmetric-logarithmic. Dynamic weights are means over "
            "validation tokens."
        )
        figures.append(figure_of(f"map-{member.trial}", draw_weight_map(last), caption=caption, choice=choice))
        courses = weight_courses(weights, trial=member.trial)
        caption = f"The same weights during training: {plural(len(courses), 'connection')}."
        figure = draw_weight_courses(courses)
        figures.append(figure_of(f"course-{member.trial}", figure, caption=caption, choice=choice))
        norms = norms_of(member)
        if norms is not None:
            caption = "Weight times the mean norm of the state that it weights: how much each state adds to the sum."
            figure = draw_weight_map(times_norms(last, norms), title="weight × norm")
            figures.append(figure_of(f"norm-{member.trial}", figure, caption=caption, choice=choice))
    lines = cosines_data(members, plain=plain)
    if lines:
        caption = (
            "Cosine between each block's input and the embedding, mean over validation tokens. The lines are the "
            "front's members and the plain architectures, in the colours of their fusions."
        )
        figures.append(figure_of("cosines", draw_cosines(lines), caption=caption, title="The embedding by depth"))
    return Section("What the connections learnt", figures, choices)


def at_equal_cost(view: RunView) -> Section:
    """Returns tables of the fusions at equal cost, and the difference of each architecture to plain."""
    timed = at_equal_time(view.records, evaluations=view.evaluations)
    grids = [at_equal_parameters(view.averaged, verdicts=view.verdicts), at_equal_latency(view.averaged), timed]
    tables = [grid for grid in grids if grid is not None]
    note = (
        "Each cell shows the pattern of a fusion (wiring, blocks) with the lowest loss. Blue is the lowest of its "
        "column. The same trials choose and measure the pattern, so its value is optimistic. Equal parameters and "
        "equal latency compare perplexity."
    )
    if timed is not None:
        note += (
            " Equal training time compares validation loss in nat/token after a share of the reference's training "
            "time, computed from measured training-step latency. The learning-rate schedule ends with the tokens, so a "
            "slower training is compared before its schedule ends."
        )
    if view.verdicts:
        note += " The small type at equal parameters is the loss minus plain's in nat/token, with its 95 % interval."
    data = differences_data(view.averaged, verdicts=view.verdicts)
    caption = (
        "Loss minus that of the plain architecture of the same depth and budget: the mean over fresh seeds with its "
        "95 % interval (Student's t over seeds, plus the uncertainty from the choice of the validation text). Left of "
        "the line is better than plain. A hollow marker is not settled."
    )
    figures = [figure_of("differences", draw_differences(data), caption=caption, title="Against plain")] if data else []
    several = len({it.fusion for it in view.records if it.state == "complete"}) > 1
    sentences = [differences_sentence(data)] if several else []
    tables_caption = note if tables else ""
    return Section("Fusions at equal cost", figures, sentences=sentences, tables=tables, tables_caption=tables_caption)


def wirings(view: RunView) -> Section:
    """Returns tables of the quality by dilation and period, and by family, for each fusion, depth and budget."""
    words = quality_words(reported_quality(view.objectives))
    shown = (
        "the perplexity and, if the plain architecture of the same depth and budget is complete, the loss minus "
        "plain's in nat/token"
        if words.column == QUALITY
        else f"the {words.word} and the same minus that of the plain architecture"
    )
    caption = (
        f"Each cell shows {shown}. Blue is below plain, orange above, on one scale for all tables. k is the "
        "dilation, p the period. An empty cell was not tried or cannot be built. Differences of one seed are not "
        "settled."
    )
    if any(marker_of(it) == "other" for it in view.averaged):
        caption += " Wirings other than k x p are grouped by family: the best of each, and how many were tried."
    tables = pattern_grids(view.averaged, quality=words.column)
    if compared := rivals_grid(strided_rivals(view), quality=words.column):
        tables = [compared, *tables]
        caption += (
            " The strided rival of a front member is the best architecture with dilation × period whose costs are not "
            "distinguishably above the member's; their difference is that of their losses, with its 95 % interval over "
            "fresh seeds."
        )
    return Section("Wirings", [], sentences=rivals_sentences(view), tables=tables, tables_caption=caption)


def what_matters(view: RunView) -> Section:
    """Returns the importance of each axis of the space, and all architectures in parallel coordinates."""
    grid = importance_grid(view.averaged, objectives=view.objectives)
    note = (
        "Share of each objective's variance that an axis explains in a model of single axes and pairs. The share of a "
        "pair counts for both axes, so a column can sum to more than 100 %. The last row is the share of variance that "
        "the model predicts for architectures left out of its fit; below "
        f"{100 * MIN_EXPLAINED:.0f} % no shares are shown. The shares hold for the architectures that the search chose "
        "to train, not for the whole space."
    )
    data = parallel_data(view.records, objectives=view.objectives)
    caption = "Each line is a complete architecture; blue lines are on the front. Lower is better on every objective."
    if data.num_left_out:
        caption += f" Lines off the front that are not shown: {data.num_left_out:,}."
    figures = []
    if len(data.axes) > 1:
        figures = [figure_of("parallel", draw_parallel(data), caption=caption, title="Choices and objectives")]
    return Section("What matters", figures, tables=[grid] if grid else [], tables_caption=note if grid else "")


def course_of_search(records: Sequence[Record], *, objectives: Sequence[str]) -> Section:
    """Returns how the front grew and when each trial ran."""
    data = progress_data(records, objectives=objectives)
    caption = (
        "Hypervolume of the front after each finished trial, as a share of the box between the run's best values "
        "and its reference point, which is a tenth of the range beyond the worst complete trial."
    )
    figures = []
    if data.trials:
        figures = [
            figure_of("progress", draw_progress(data), caption=caption, title="By trials", half=True),
            figure_of(
                "progress-tokens",
                draw_progress(data, over="tokens"),
                caption="The same by the number of tokens that all trials together had trained on.",
                title="By tokens",
                half=True,
            ),
        ]
    timeline = timeline_data(records)
    if timeline.spans:
        caption = (
            "Each bar runs from the start to the end of a trial, in the colour of its fusion. A faint bar is a trial "
            "that was paused in between. A record does not name its worker: a trial takes the first free row, and a "
            "paused trial keeps its row."
        )
        if timeline.num_left_out:
            caption += f" Trials that are not shown: {timeline.num_left_out:,}."
        figures.append(figure_of("timeline", draw_timeline(timeline), caption=caption, title="Workers"))
    sentence = timeline_sentence(timeline)
    return Section("How the search went", figures, sentences=[sentence] if sentence else [])
