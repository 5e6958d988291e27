"""What the figure of loss against one cost shows: points, the front's step line, labels and ranges."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from depthweave.reports.analysis.device_kinds import comparable
from depthweave.reports.analysis.front import front, value_of
from depthweave.reports.analysis.seeds import averaged
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.figures.drawn_value import drawn_value
from depthweave.reports.figures.hover import hover_text
from depthweave.reports.figures.labels import Label, place_labels
from depthweave.reports.figures.thinning import thinned
from depthweave.reports.formatting import axis_of, short_name
from depthweave.reports.store.objectives import OBJECTIVES, QUALITY
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import Marker, marker_of

Role = Literal["front", "dominated", "stopped early"]

HEIGHT_PX = 460
MARGIN_PX = {"l": 64, "r": 24, "t": 28, "b": 60}
_LABEL_WIDTH_PX = 880.0
"""Plot width for which labels are placed; a narrower page has no labels."""
_HEADROOM = 0.35
"""How far the axis extends above the worst complete record for stopped ones, as a share of best to worst."""


class ParetoPoint(NamedTuple):
    """One record, in the figure's units."""

    trial: int
    x: float
    y: float
    x_low: float | None
    x_high: float | None
    y_low: float | None
    y_high: float | None
    """Ends of the 95 % interval over seeds; `None` with one seed."""
    settled: bool
    """False if a confirmation did not settle its place on the front."""
    fusion: str
    marker: Marker
    role: Role
    reference: bool
    hover: str


class ParetoData(NamedTuple):
    """All that the figure shows. `step` is the lower left edge of the region that the front dominates, with corners."""

    x_title: str
    y_title: str
    points: list[ParetoPoint]
    step: list[tuple[float, float]]
    labels: list[Label]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    num_above: int
    """Stopped records above `y_range`, drawn at its upper edge."""
    num_without: int
    """Drawn records without the cost or the loss."""
    num_thinned: int
    """Records off the front that are left out because there are too many."""


def pareto_data(
    records: Sequence[Record],
    *,
    cost: str,
    quality: str = QUALITY,
    verdicts: Mapping[str, Verdict] | None = None,
) -> ParetoData:
    """Returns the figure of one cost. A stopped record has the perplexity of its last evaluation and is on no front.

    A confirmed run gives `verdicts`: an architecture is then one point, at the mean of its seeds.
    """
    known = verdicts or {}
    objectives = (quality, cost)
    on_front = {record.trial for record in front(records, objectives=objectives)}
    alike = comparable(records, objectives=objectives)
    shown = [record for record in averaged(alike) if record.state in ("complete", "pruned")]
    x_axis = axis_of(cost, [value for record in shown if (value := value_of(record, cost)) is not None])
    drawn = thinned(shown, on_front=on_front)
    points = []
    for record in drawn:
        role: Role = "front" if record.trial in on_front else "dominated"
        if record.state != "complete":
            role = "stopped early"
        verdict = known.get(record.architecture_id)
        point = _point(record, cost=cost, quality=quality, divisor=x_axis.divisor, role=role, verdict=verdict)
        if point is not None:
            points.append(point)
    members = sorted((point for point in points if point.role == "front"), key=lambda point: (point.x, -point.y))
    x_range, y_range = _ranges(points)
    several_depths = len({record.depth for record in shown}) > 1
    names = {record.trial: _label(record, with_depth=several_depths) for record in shown}
    step = _step([(point.x, point.y) for point in members], x_end=x_range[1], y_end=y_range[1])
    labels = _labels(points, members=members, names=names, step=step, x_range=x_range, y_range=y_range)
    return ParetoData(
        x_title=x_axis.title,
        y_title=axis_of(quality, []).title,
        points=points,
        step=step,
        labels=labels,
        x_range=x_range,
        y_range=y_range,
        num_above=sum(1 for point in points if point.y > y_range[1]),
        num_without=len(drawn) - len(points),
        num_thinned=len(shown) - len(drawn),
    )


def _point(
    record: Record, *, cost: str, quality: str, divisor: float, role: Role, verdict: Verdict | None
) -> ParetoPoint | None:
    """Returns the record's point; `None` if it lacks the cost or the loss."""
    x, y = value_of(record, cost), drawn_value(record, quality, quality=quality)
    if x is None or y is None:
        return None
    ends = [value_of(record, column) for column in OBJECTIVES[cost].interval_columns]
    low, high = [None if end is None else end / divisor for end in ends] or (None, None)
    y_low, y_high = _interval_ends(record, verdict, quality=quality)
    return ParetoPoint(
        trial=record.trial,
        x=x / divisor,
        y=y,
        x_low=low,
        x_high=high,
        y_low=y_low,
        y_high=y_high,
        settled=verdict is None or verdict.settled,
        fusion=record.fusion,
        marker=marker_of(record),
        role=role,
        reference=record.reference,
        hover=hover_text(record, verdict=verdict),
    )


def _labels(
    points: Sequence[ParetoPoint],
    *,
    members: Sequence[ParetoPoint],
    names: Mapping[int, str],
    step: Sequence[tuple[float, float]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> list[Label]:
    """Returns labels of the reference and the front's members that cover no line, error bar or other point."""
    bars = [((it.x_low, it.y), (it.x_high, it.y)) for it in members if it.x_low is not None and it.x_high is not None]
    bars += [((it.x, it.y_low), (it.x, it.y_high)) for it in members if it.y_low is not None and it.y_high is not None]
    # The reference is first, so that it has a label even off the front.
    labelled = [point for point in points if point.reference and point.y <= y_range[1]]
    labelled += [point for point in members if not point.reference]
    return place_labels(
        [(point.x, point.y) for point in labelled],
        [names[point.trial] for point in labelled],
        x_range=x_range,
        y_range=y_range,
        width_px=_LABEL_WIDTH_PX,
        height_px=HEIGHT_PX - MARGIN_PX["t"] - MARGIN_PX["b"],
        others=[(point.x, min(point.y, y_range[1])) for point in points if point not in labelled],
        lines=[*itertools.pairwise(step), *bars],
    )


def _label(record: Record, *, with_depth: bool) -> str:
    text = html.escape(short_name(record)) + (f" ({record.depth})" if with_depth else "")
    return text + (", reference" if record.reference else "")


def _interval_ends(record: Record, verdict: Verdict | None, *, quality: str) -> tuple[float | None, float | None]:
    """Returns the ends of the interval over seeds, in the figure's measure of quality."""
    if verdict is None or verdict.loss.low is None or verdict.loss.high is None:
        return None, None
    value, mean, known = value_of(record, quality) or 0.0, verdict.loss.mean, OBJECTIVES[quality]
    return (
        known.at_loss(verdict.loss.low, value=value, mean=mean),
        known.at_loss(verdict.loss.high, value=value, mean=mean),
    )


def _step(members: Sequence[tuple[float, float]], *, x_end: float, y_end: float) -> list[tuple[float, float]]:
    """Returns the members and the corners between them, from the upper to the right edge of the plot."""
    if not members:
        return []
    corners = [(members[0][0], max(y_end, members[0][1])), members[0]]
    for x, y in members[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return [*corners, (max(x_end, members[-1][0]), members[-1][1])]


def _ranges(points: Sequence[ParetoPoint]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns axis ranges that show every complete record, and stopped ones up to the headroom."""
    if not points:
        return (0.0, 1.0), (0.0, 1.0)
    xs, ys = [point.x for point in points], [point.y for point in points]
    complete = [point.y for point in points if point.role != "stopped early"] or ys
    spread = (max(complete) - min(complete)) or abs(max(complete)) * 0.1 or 1.0
    top = min(max(ys), max(complete) + _HEADROOM * spread)
    bars = [end for point in points if point.role == "front" for end in (point.y_low, point.y_high) if end is not None]
    return _padded(min(xs), max(xs)), _padded(min(ys + bars), max([top, *bars]))


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.07 * (high - low) or 0.05 * abs(high) or 0.5
    return low - pad, high + pad
