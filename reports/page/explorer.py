"""The data of the page's interactive front: one JSON object, column by column, shared by all its views.

The page's scripts choose among these values and draw them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from depthweave.reports.analysis.recommend import Limit, close_rivals, limits_of
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.figures.drawn_value import drawn_value
from depthweave.reports.figures.key import outline_of
from depthweave.reports.figures.palette import symbol_of
from depthweave.reports.figures.thinning import ever_on_front, thinned
from depthweave.reports.formatting import axis_of, fusion_word, title_of
from depthweave.reports.page.explorer_points import num_fresh_seeds, point_columns
from depthweave.reports.page.filters import Filter, filters_of
from depthweave.reports.page.quality_words import quality_words
from depthweave.reports.page.traces import page_curves, page_weights
from depthweave.reports.store.objectives import OBJECTIVES, QUALITY, cost_names, reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import marker_of
from depthweave.spaces.plain_names import PLAIN_FUSION, PLAIN_HEAD

_MAX_OTHER_POINTS = 2_500
"""The most records that the page holds although no front needs them."""


class Column(NamedTuple):
    """A number that an axis can show."""

    name: str
    title: str
    """With the unit in which values are drawn."""
    short: str
    """Without a unit."""
    divisor: float
    """Of the record's value, for the unit of `title`."""
    cost: bool


class Explorer(NamedTuple):
    """The interactive front: its controls, and the data that it draws."""

    columns: list[Column]
    x: str
    y: str
    """The columns that the axes show first."""
    fusion_word: str
    """What the reader colours and filters by."""
    filters: list[Filter]
    limits: dict[str, list[Limit]]
    num_points: int
    num_left_out: int
    data: dict[str, Any]


def explorer_of(view: RunView, *, run: str, weights: Callable[[set[int]], pa.Table]) -> Explorer | None:
    """Returns the interactive front of a run's complete and stopped trials; `None` if nothing can be drawn.

    `run` is the run's folder for commands. `weights` reads the connection weights of the given trials.
    """
    records, objectives, verdicts = view.records, view.objectives, view.verdicts
    quality = reported_quality(objectives)
    shown = [it for it in view.averaged if it.state in ("complete", "pruned")]
    columns = _columns(shown, quality=quality)
    if not shown or len(columns) < 2:
        return None
    names = [item.name for item in columns]
    needed = ever_on_front(shown, columns=names, objectives=objectives)
    needed |= {it.trial for it in shown if num_fresh_seeds(it, verdicts) > 1}
    points = thinned(shown, on_front=needed, max_faint=_MAX_OTHER_POINTS)
    members = {it.trial for it in view.front}
    ranked = sorted(points, key=lambda it: (it.trial not in members, it.trial not in needed, it.trial))
    costs = [name for name in cost_names(objectives) if name in names]
    limits = {name: found for name in costs if (found := limits_of(view.averaged, column=name))}
    wirings = {text: number for number, text in enumerate(sorted({it.wiring for it in points}))}
    data: dict[str, Any] = {
        "columns": [item._asdict() for item in columns],
        "limits": {name: [[it.value, it.text] for it in found] for name, found in limits.items()},
        "points": {
            **point_columns(points, view=view, run=run, columns=names, quality=quality),
            "wiring": [wirings[it.wiring] for it in points],
        },
        "symbols": {
            json.dumps(marker): outline_of(symbol_of(marker))
            for marker in dict.fromkeys(marker_of(it) for it in points)
        },
        "wirings": [json.loads(text) for text in wirings],
        "quality": quality_words(quality)._asdict(),
        "plain": [PLAIN_FUSION, PLAIN_HEAD],
        "close_rivals": _close_rivals(view, points=points),
        "curves": page_curves(records, points=ranked, evaluations=view.evaluations),
        "weights": page_weights(ranked, read=weights),
    }
    x, y = (costs or cost_names(names) or names[:1])[0], _quality(names)
    return Explorer(
        columns=columns,
        x=x if x != y else names[1],
        y=y,
        fusion_word=fusion_word(points),
        filters=filters_of(points),
        limits=limits,
        num_points=len(points),
        num_left_out=len(shown) - len(points),
        data=data,
    )


def _columns(records: Sequence[Record], *, quality: str) -> list[Column]:
    columns = []
    for name, item in OBJECTIVES.items():
        values = [value for it in records if (value := drawn_value(it, name, quality=quality)) is not None]
        if values:
            axis = axis_of(name, values)
            columns.append(Column(name, axis.title, title_of(name), axis.divisor, item.cost))
    return columns


def _quality(names: Sequence[str]) -> str:
    return QUALITY if QUALITY in names else names[0]


def _close_rivals(view: RunView, *, points: Sequence[Record]) -> dict[str, list[int]]:
    """Maps each member of the front to the points whose loss is not distinguishable from its own, all by index."""
    index = {it.architecture_id: number for number, it in enumerate(points) if it.state == "complete"}
    found = close_rivals(view)
    return {str(index[own]): sorted(index[it] for it in close) for own, close in found.items()}
