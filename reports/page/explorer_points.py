"""The points of the interactive front, column by column: a list with an item a point for each thing the page shows.

All texts and formatted numbers of points are made here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from depthweave.reports.analysis.distinct import twins_of
from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.held_out import held_out_text
from depthweave.reports.analysis.recommend import certainty_sentence, recommended_sentence, uncertainty_sentence
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import searched
from depthweave.reports.analysis.source_runs import taken_phrase
from depthweave.reports.analysis.training_tokens import ratio_cell
from depthweave.reports.analysis.verdict_text import difference_text, interval_text
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.figures.drawn_value import drawn_value
from depthweave.reports.figures.palette import colour_of
from depthweave.reports.formatting import (
    STATE_WORDS,
    block_of,
    blocks_text,
    full_name,
    plural,
    short_name,
    show,
    show_quality,
)
from depthweave.reports.page.quality_words import quality_words
from depthweave.reports.page.traces import rounded
from depthweave.reports.store.objectives import OBJECTIVES, QUALITY, column_value, reported_quality
from depthweave.reports.store.records import Record
from depthweave.reports.wirings import family_of_record, marker_of, rule_of, shows_wiring, wiring_name, wiring_phrase


def point_columns(
    points: Sequence[Record], *, view: RunView, run: str, columns: Sequence[str], quality: str
) -> dict[str, Any]:
    """Returns the lists of all points: what each is, its values on these columns, and what a confirmation found.

    `run` is the run's folder for commands.
    """
    verdicts = view.verdicts
    return {
        **_identity_columns(points, run=run, twins=twins_of(view.groups), verdicts=verdicts),
        **_value_columns(points, names=columns, quality=quality, verdicts=verdicts, estimated=view.estimated),
        **_text_columns(points, objectives=view.objectives, members={it.trial for it in view.front}, verdicts=verdicts),
        "estimated": [int(it.architecture_id in view.estimated) for it in points],
        "search_quality": _searched(points, records=view.records, quality=quality),
    }


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
            export_command(run, it, num_seeds=1 + num_fresh_seeds(it, verdicts)) if it.state == "complete" else ""
            for it in points
        ],
    }


def _value_columns(
    points: Sequence[Record],
    *,
    names: Sequence[str],
    quality: str,
    verdicts: Mapping[str, Verdict],
    estimated: set[str],
) -> dict[str, dict[str, Any]]:
    """Returns for each axis lists with an item a point: values, texts and 95 % intervals."""
    known = [verdicts.get(it.architecture_id) for it in points]
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
        "seeds": [num_fresh_seeds(it, verdicts) for it in points],
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


def export_command(where: str, record: Record, *, num_seeds: int) -> str:
    """Returns the command that exports this record's weights."""
    select = ["--select", f"id:{record.architecture_id}"]
    if num_seeds > 1:
        select += ["--where", f"seed=={record.seed}"]
    return shlex.join(["depthweave", "export", where, *select, "--out", f"exports/{record.architecture_id}"])


def num_fresh_seeds(record: Record, verdicts: Mapping[str, Verdict]) -> int:
    verdict = verdicts.get(record.architecture_id)
    return 0 if verdict is None else verdict.loss.num


def _budget(record: Record) -> str:
    return "" if record.budget is None else str(record.budget)
