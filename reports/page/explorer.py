"""The data of the page's interactive front: one JSON object, column by column, shared by all its views.

The page's scripts choose among these values and draw them. All texts and formatted numbers are made here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from depthweave.reports.analysis.distinct import twins_of
from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.held_out import held_out_text
from depthweave.reports.analysis.recommend import (
    Limit,
    certainty_sentence,
    close_rivals,
    limits_of,
    recommended_sentence,
    uncertainty_sentence,
)
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.analysis.source_runs import taken_phrase
from depthweave.reports.analysis.training_tokens import ratio_cell
from depthweave.reports.analysis.verdict_text import difference_text, interval_text
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.figures.drawn_value import drawn_value
from depthweave.reports.figures.key import outline_of
from depthweave.reports.figures.palette import colour_of, symbol_of
from depthweave.reports.figures.thinning import ever_on_front, thinned
from depthweave.reports.formatting import (
    STATE_WORDS,
    axis_of,
    block_of,
    blocks_text,
    full_name,
    fusion_word,
    plural,
    short_name,
    show,
    show_quality,
    title_of,
)
from depthweave.reports.page.filters import Filter, filters_of
from depthweave.reports.page.quality_words import quality_words
from depthweave.reports.page.traces import page_curves, page_weights, rounded
from depthweave.reports.store.objectives import OBJECTIVES, QUALITY, column_value, cost_names, reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import family_of_record, marker_of, rule_of, shows_wiring, wiring_name, wiring_phrase
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
    needed |= {it.trial for it in shown if _num_fresh_seeds(it, verdicts) > 1}
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
            **_identity_columns(points, run=run, twins=twins_of(view.groups), verdicts=verdicts),
            **_value_columns(points, columns=columns, quality=quality, verdicts=verdicts, estimated=view.estimated),
            **_text_columns(points, objectives=objectives, members=members, verdicts=verdicts),
            "estimated": [int(it.architecture_id in view.estimated) for it in points],
            "search_quality": _searched(points, records=records, quality=quality),
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


def _identity_columns(
    points: Sequence[Record], *, run: str, twins: Mapping[str, str], verdicts: Mapping[str, Verdict]
) -> dict[str, list[Any]]:
    """Returns lists with an item a point: what the architecture is and how it is drawn."""
    return {
        "trial": [it.trial for it in points],
        "id": [it.architecture_id for it in points],
        "twin": _twins(points, twins=twins),
        "short_name": [short_name(it) for it in points],
        "full_name": [full_name(it) for it in points],
        "fusion": [it.fusion for it in points],
        "period": [marker_of(it) for it in points],
        "family": [family_of_record(it) for it in points],
        "depth": [it.depth for it in points],
        "budget": [_budget(it) for it in points],
        "state": [it.state for it in points],
        "reference": [int(it.reference) for it in points],
        "taken_over": [taken_phrase(it) for it in points],
        "colour": [colour_of(it.fusion) for it in points],
        "shape": [_shape(it) for it in points],
        "outcome": [_outcome(it) for it in points],
        "command": [
            export_command(run, it, num_seeds=1 + _num_fresh_seeds(it, verdicts)) if it.state == "complete" else ""
            for it in points
        ],
    }


def _value_columns(
    points: Sequence[Record],
    *,
    columns: Sequence[Column],
    quality: str,
    verdicts: Mapping[str, Verdict],
    estimated: set[str],
) -> dict[str, dict[str, Any]]:
    """Returns for each axis lists with an item a point: values, texts and 95 % intervals."""
    known = [verdicts.get(it.architecture_id) for it in points]
    names = [item.name for item in columns]
    return {
        "values": {name: [rounded(drawn_value(it, name, quality=quality)) for it in points] for name in names},
        "texts": {
            name: [_value_text(it, name, quality=quality, estimated=estimated) for it in points] for name in names
        },
        "low": _interval_ends(points, verdicts=known, names=names, end=0),
        "high": _interval_ends(points, verdicts=known, names=names, end=1),
        "interval": {
            QUALITY: [interval_text(it) if it else "" for it in known],
            **{name: [_timed_interval(it, name) for it in points] for name in names if OBJECTIVES[name].timed},
        },
    }


def _text_columns(
    points: Sequence[Record],
    *,
    objectives: Sequence[str],
    members: set[int],
    verdicts: Mapping[str, Verdict],
) -> dict[str, list[Any]]:
    """Returns lists with an item a point: its place on the front, and what a confirmation found."""
    known = [verdicts.get(it.architecture_id) for it in points]
    return {
        "seeds": [_num_fresh_seeds(it, verdicts) for it in points],
        "member": [int(it.trial in members) for it in points],
        "settled": [int(verdict is not None and verdict.settled) for verdict in known],
        "recommendation": [
            recommended_sentence(it, objectives=objectives, verdicts=verdicts) if it.state == "complete" else ""
            for it in points
        ],
        "certainty": [_certainty(it, verdicts=verdicts, member=it.trial in members) for it in points],
        "uncertainty": [uncertainty_sentence(it, verdicts=verdicts) for it in points],
        "test": [[text for text in held_out_text(it.test if it else None) if text] for it in known],
        "difference": [_difference(it, unit=quality_words(reported_quality(objectives)).unit) for it in known],
    }


def _searched(points: Sequence[Record], *, records: Sequence[Record], quality: str) -> list[str]:
    """Returns for each point the quality by which the search chose; empty if the search did not train it."""
    found = {it.trial: value for it in searched(records) if (value := value_of(it, quality)) is not None}
    return [show(quality, found[it.trial]) if it.trial in found else "" for it in points]


def _twins(points: Sequence[Record], *, twins: Mapping[str, str]) -> list[str]:
    """Returns for each point the name of the distinct member that represents it; empty for all others."""
    names = {it.architecture_id: full_name(it) for it in points}
    own = [twins.get(it.architecture_id, it.architecture_id) for it in points]
    return ["" if it.architecture_id == key else names.get(key, "") for it, key in zip(points, own, strict=True)]


def _certainty(record: Record, *, verdicts: Mapping[str, Verdict], member: bool) -> str:
    if record.state != "complete":
        return "Stopped early: on no front."
    if not member:
        return "Not on the front of all objectives."
    return certainty_sentence(record, verdicts=verdicts)


def _difference(verdict: Verdict | None, *, unit: str) -> list[str]:
    """Returns the difference to the plain architecture and its interval as texts, as far as there are any."""
    if verdict is None or verdict.difference is None:
        return []
    mean, interval = difference_text(verdict)
    return [f"{mean} {unit}".rstrip(), interval] if interval else [f"{mean} {unit}".rstrip()]


def _shape(record: Record) -> str:
    rule = rule_of(record)
    text = f"{blocks_text(record.depth, block_of(record))}, width {record.width}, {plural(record.heads, 'head')}, "
    text += f"feed-forward {record.feed_forward}, {plural(record.kept_states, 'state')} kept"
    if not shows_wiring(record):
        return text
    if rule is not None and rule.stride is not None:
        return f"dilation × period {wiring_name(record)}, {text}"
    name, phrase = wiring_name(record), wiring_phrase(record)
    return f"{name}, {text}" if name == phrase else f"{name} ({phrase}), {text}"


def _outcome(record: Record) -> str:
    text = f"{STATE_WORDS.get(record.state, record.state)} after {record.tokens:,} tokens"
    if (ratio := ratio_cell(record)) != "-":
        text += f", {ratio} a parameter"
    return f"{text}: {record.reason}" if record.reason else text


def _value_text(record: Record, name: str, *, quality: str, estimated: set[str]) -> str:
    value = column_value(record, name)
    if value is None:
        last = drawn_value(record, name, quality=quality)
        return "" if last is None else f"{show(name, last)} when stopped"
    return show_quality(name, value, estimated=record.architecture_id in estimated)


def _interval_ends(
    points: Sequence[Record], *, verdicts: Sequence[Verdict | None], names: Sequence[str], end: int
) -> dict[str, list[float | None]]:
    """Returns the lower (0) or upper (1) ends of the 95 % intervals of the columns that have intervals."""
    found: dict[str, list[float | None]] = {
        QUALITY: [None if it is None else rounded((it.perplexity_low, it.perplexity_high)[end]) for it in verdicts],
        **{
            name: [rounded(value_of(it, OBJECTIVES[name].interval_columns[end])) for it in points]
            for name in names
            if OBJECTIVES[name].timed
        },
    }
    return {name: ends for name, ends in found.items() if name in names and any(it is not None for it in ends)}


def _timed_interval(record: Record, name: str) -> str:
    low, high = (value_of(record, column) for column in OBJECTIVES[name].interval_columns)
    return "" if low is None or high is None else f"{show(name, low)} to {show(name, high)}"


def _close_rivals(view: RunView, *, points: Sequence[Record]) -> dict[str, list[int]]:
    """Maps each member of the front to the points whose loss is not distinguishable from its own, all by index."""
    index = {it.architecture_id: number for number, it in enumerate(points) if it.state == "complete"}
    found = close_rivals(view)
    return {str(index[own]): sorted(index[it] for it in close) for own, close in found.items()}


def export_command(where: str, record: Record, *, num_seeds: int) -> str:
    """Returns the command that exports this record's weights."""
    select = ["--select", f"id:{record.architecture_id}"]
    if num_seeds > 1:
        select += ["--where", f"seed=={record.seed}"]
    return shlex.join(["depthweave", "export", where, *select, "--out", f"exports/{record.architecture_id}"])


def _num_fresh_seeds(record: Record, verdicts: Mapping[str, Verdict]) -> int:
    verdict = verdicts.get(record.architecture_id)
    return 0 if verdict is None else verdict.loss.num


def _budget(record: Record) -> str:
    return "" if record.budget is None else str(record.budget)
