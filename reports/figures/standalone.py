"""The figures of a run as Plotly objects for a paper or a notebook, each with its own key, colours and size.

The page draws the same data, but with one key for all figures and in the reader's colour scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import plotly.graph_objects as go
import pyarrow.compute as pc

from depthweave.reports.analysis.gain_courses import gain_courses
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.figures.curves import curves_data, draw_curves
from depthweave.reports.figures.few_shot_scores import (
    draw_score_differences,
    draw_scores,
    score_differences,
    score_lines,
)
from depthweave.reports.figures.gain_courses import draw_gain_courses
from depthweave.reports.figures.key import marker_texts
from depthweave.reports.figures.layer_weights import draw_layer_map, head_map, type_map
from depthweave.reports.figures.palette import FRONT_LINE, colour_of, symbol_of, template
from depthweave.reports.figures.pareto import draw_pareto
from depthweave.reports.figures.pareto_points import pareto_data
from depthweave.reports.figures.progress import draw_progress, progress_data
from depthweave.reports.figures.shared import draw_differences_in_share, shared_maps
from depthweave.reports.figures.step_scores import draw_step_scores, highest_f1, step_lines
from depthweave.reports.figures.tagged_trials import best_of_heads, tagged_trials
from depthweave.reports.figures.weights import draw_weight_courses, draw_weight_map, weight_courses, weight_map
from depthweave.reports.store.objectives import cost_names, searched_quality
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.plain_names import PLAIN_FUSION, plain_first

WIDTH_PX = 968
"""Width of a whole figure. The labels beside the front's points are placed for this width."""
_SQUARE_PX = 620
_MAX_WEIGHT_MEMBERS = 12
_KEY_ROW_PX = 24


def run_figures(store: RunStore) -> dict[str, go.Figure]:
    """Returns figures by name: the front for each cost, learning curves, the differences to plain in their course, its
    members' weights, the connections that they share by depth, the hypervolume; of heads on a host also scores and
    weights of layers.

    The names are valid file names. A figure without data is left out.
    """
    view = RunView.read(store)
    records, objectives, members, verdicts = view.records, view.objectives, view.front, view.verdicts
    search = searched(records)
    quality = searched_quality(objectives)
    figures: dict[str, go.Figure] = {}
    for cost in cost_names(objectives):
        pareto = pareto_data(records, cost=cost, quality=quality, verdicts=verdicts)
        if pareto.points:
            figures[f"front-{cost}"] = _with_key(draw_pareto(pareto), records, confirmed=bool(verdicts))
    curves = curves_data(search, evaluations=view.evaluations, on_front={it.trial for it in members})
    if curves.curves:
        figures["curves"] = _standalone(draw_curves(curves), width_px=WIDTH_PX, legend=True)
    if courses := gain_courses(view):
        figures["gain-courses"] = _standalone(draw_gain_courses(courses), width_px=WIDTH_PX, legend=True)
    shown = members[:_MAX_WEIGHT_MEMBERS]
    weights = store.weights({member.trial for member in shown})
    for member in shown:
        own = weights.filter(pc.equal(weights["trial"], member.trial))
        last = weight_map(own, trial=member.trial)
        if last is not None:
            over_time = draw_weight_courses(weight_courses(own, trial=member.trial))
            name = member.architecture_id
            figures[f"weights-{name}"] = _standalone(draw_weight_map(last), width_px=_SQUARE_PX, legend=False)
            figures[f"weight-courses-{name}"] = _standalone(over_time, width_px=_SQUARE_PX, legend=True)
    for data in (it for it in shared_maps(view) if it.num_members):
        figure = draw_differences_in_share(data)
        figures[f"shared-connections-{data.depth}"] = _standalone(figure, width_px=_SQUARE_PX, legend=False)
    progress = progress_data(search, objectives=objectives)
    if progress.trials:
        figures["hypervolume"] = _standalone(draw_progress(progress), width_px=WIDTH_PX, legend=False)
    return figures | _few_shot_figures(records)


def _few_shot_figures(records: Sequence[Record]) -> dict[str, go.Figure]:
    """Returns the figures of heads on a host: scores by shots and by steps, and weights of layers."""
    best = best_of_heads(tagged_trials(records))
    if not best:
        return {}
    figures = {"few-shot-scores": _standalone(draw_scores(score_lines(best)), width_px=_SQUARE_PX, legend=True)}
    differences = score_differences(best)
    if differences is not None:
        figure = draw_score_differences(differences)
        figures["few-shot-differences"] = _standalone(figure, width_px=_SQUARE_PX, legend=True)
    highest = highest_f1(best)
    for shots in sorted({shots for trial in best for shots in trial.scores}):
        if lines := step_lines(best, shots=shots):
            figure = draw_step_scores(lines, highest=highest)
            figures[f"steps-{shots}"] = _standalone(figure, width_px=_SQUARE_PX, legend=True)
        if heads := head_map(best, shots=shots):
            figure = draw_layer_map(heads, by_row=True)
            figures[f"layers-{shots}"] = _standalone(figure, width_px=_SQUARE_PX, legend=False)
        for trial in best:
            if types := type_map(trial, shots=shots):
                figure = draw_layer_map(types, by_row=False)
                figures[f"layers-{trial.head}-{shots}"] = _standalone(figure, width_px=_SQUARE_PX, legend=False)
    return figures


def _standalone(figure: go.Figure, *, width_px: int, legend: bool) -> go.Figure:
    """Returns the figure with template, width and background."""
    # Assigned directly, because `update_layout` takes a second a figure for the template.
    figure.layout.template = _template()
    figure.layout.width, figure.layout.showlegend, figure.layout.paper_bgcolor = width_px, legend, "white"
    if legend:
        figure.layout.margin.t = max(figure.layout.margin.t or 0, 2 * _KEY_ROW_PX)
    return figure


@cache
def _template() -> go.layout.Template:
    return go.layout.Template(template(dark=False))


def _with_key(figure: go.Figure, records: Sequence[Record], *, confirmed: bool) -> go.Figure:
    """Returns the front's figure with a key: fusions by colour, periods by marker, and the other symbols."""
    for trace in figure.data:
        trace.showlegend = False
    fusions = sorted({record.fusion for record in records}, key=plain_first)
    entries = [(f"fusion {name}" if name == PLAIN_FUSION else name, "circle", colour_of(name), 1.0) for name in fusions]
    entries += [(text, symbol_of(marker), FRONT_LINE, 1.0) for marker, text in marker_texts(records).items()]
    entries.append(("reference", "circle-open", FRONT_LINE, 1.0))
    if any(record.state == "pruned" for record in records):
        entries.append(("stopped early", "x-thin-open", FRONT_LINE, 0.5))
    if confirmed:
        entries.append(("hollow: not settled", "diamond-open", FRONT_LINE, 1.0))
    entries.append(("faint: dominated", "circle", FRONT_LINE, 0.45))
    for text, symbol, colour, opacity in entries:
        marker = {"symbol": symbol, "color": colour, "size": 10, "opacity": opacity, "line": {"color": colour}}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=text))
    line = {"color": FRONT_LINE, "width": 1.5}
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", line=line, name="front"))
    return _standalone(figure, width_px=WIDTH_PX, legend=True)
