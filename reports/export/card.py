"""The model card: what the model is, how it was trained, what was measured, and the limits of the measurements."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from depthweave.reports.analysis.front import value_of
from depthweave.reports.analysis.held_out import held_out_text
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.training_tokens import ratio_of, ratio_phrase, ratio_text, tokens_per_parameter
from depthweave.reports.analysis.verdict_text import difference_text, interval_text, why_not_settled
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.export.graph import GRAPH_FILES, GraphFormat
from depthweave.reports.export.training import Training
from depthweave.reports.formatting import block_of, blocks_text, full_name, plural, short_name, show, title_of
from depthweave.reports.store.objectives import OBJECTIVES, QUALITY, column_value
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.wirings import rule_of
from depthweave.spaces.block_style import GPT, BlockStyle
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.wiring_rules import WiringRule

CARD_FILE = "README.md"

_TEST_METRICS = (
    ("test_perplexity", "perplexity on the test part, which the search does not read, per token"),
    ("test_bits_per_byte", "bits per byte of the test part"),
)
"""Columns after the quality objectives."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_ROWS = 20
"""Of the table of the front."""


class Metric(NamedTuple):
    """A row of the table of metrics."""

    meaning: str
    value: str
    interval: str = ""
    """The 95 % interval and its source of variation."""


class CurvePoint(NamedTuple):
    """One evaluation of the learning curve."""

    tokens: int
    loss: float


class Rival(NamedTuple):
    """A member of the run's front, or the model itself if it is not on the front."""

    name: str
    values: tuple[str, ...]
    mark: str
    """A note after the name of the model itself; empty for others."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """The content of a model card."""

    title: str
    pattern: str
    """The architecture in a phrase."""
    training: Training
    metrics: Sequence[Metric]
    limits: Sequence[str]
    """Whole sentences, Markdown."""
    folder: str
    """The folder's path in commands."""
    context: int
    """Length of the longest sequence in tokens."""
    curve: Sequence[CurvePoint] = ()
    rivals: Sequence[Rival] = ()
    rival_columns: Sequence[str] = ()
    rivals_note: str = ""
    """The caption of their table."""
    graphs: Sequence[str] = ()
    """Graph files that `--format` added."""


def card_of_record(
    store: RunStore,
    record: Record,
    *,
    training: Training,
    folder: Path,
    verdict: Verdict | None,
    formats: Sequence[GraphFormat],
) -> str:
    """Returns the card of a run's record, with its learning curve and the front from which it was chosen."""
    curve = store.evaluations([record.trial]).to_pylist()
    columns = tuple(dict.fromkeys((QUALITY, *store.info.objectives)))
    view = RunView.of(store.records(), objectives=store.info.objectives, tolerances=store.info.tolerance_of)
    rivals = _rivals(view, record, columns=columns)
    several = "" if verdict is None or verdict.loss.num < 2 else " A perplexity is the mean over fresh seeds."
    return model_card(
        Card(
            title=full_name(record),
            pattern=pattern_text(
                record.fusion, rule_of(record), depth=record.depth, width=record.width, style=block_of(record)
            ),
            training=training,
            metrics=_metrics(record, verdict),
            limits=_limits(record, training, verdict=verdict),
            folder=str(folder),
            context=record.context,
            curve=[CurvePoint(row["tokens"], row["loss"]) for row in curve],
            rivals=rivals,
            rival_columns=[title_of(name) for name in columns],
            rivals_note=f"The front of all complete architectures of the run.{several}",
            graphs=[GRAPH_FILES[item] for item in formats],
        )
    )


def model_card(card: Card) -> str:
    """Returns the Markdown README of an exported folder. Text from files is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    training = {name: plain(value) for name, value in dataclasses.asdict(card.training).items()}
    return environment.get_template("model_card.md.j2").render(
        card=card,
        title=plain(card.title),
        training=training,
        recipe={name: plain(value) for name, value in card.training.recipe.items()},
        # So that the example fits into the context.
        num_tokens=max(1, min(40, card.context - 12)),
        quoted=shlex.quote(card.folder),
        resized=shlex.quote(f"{card.folder}-larger"),
        again=shlex.quote(f"{card.folder}-again"),
        tuned=f"{card.folder}-tuned",
    )


def pattern_text(fusion: str, rule: WiringRule | None, *, depth: int, width: int, style: BlockStyle = GPT) -> str:
    """Returns the architecture as a phrase: "fusion `dwa`, dilation 4, period 1, 12 blocks of width 48"."""
    wiring = "" if has_one_wiring(fusion) else _wiring_text(rule, depth=depth)
    return f"fusion `{fusion}`{wiring}, {blocks_text(depth, style)} of width {width}"


def _wiring_text(rule: WiringRule | None, *, depth: int) -> str:
    if rule is None:
        return ""
    if rule.stride is not None:
        return f", dilation {rule.stride.dilation}, period {rule.stride.period}"
    return f", wiring `{rule.short}` ({rule.phrase_at(depth)})"


RECIPE_LIMIT = (
    "The training recipe comes from a search: it is made for comparing architectures, not for the best model."
)


def general_limits(training: Training, *, parameters: int) -> list[str]:
    """Returns the limits that hold for every training, of a model with so many parameters, the embedding included."""
    text = (
        f"Trained on {training.tokens:,} tokens of the corpus `{plain(training.corpus)}` with the tokenizer "
        f"`{plain(training.tokenizer)}`, and evaluated on other text of the corpus (sha256 "
        f"`{plain(training.corpus_sha256)}`). A perplexity is per token: compare it only with the same corpus and "
        f"tokenizer. The training saw {ratio_phrase(ratio_of(training.tokens, parameters=parameters))}."
    )
    unsafe = "A small language model can write wrong or offensive text. Its output has not been reviewed."
    return [text, unsafe]


def _limits(record: Record, training: Training, *, verdict: Verdict | None) -> list[str]:
    first, *others = general_limits(training, parameters=record.parameters + record.embedding_parameters)
    measured = (
        f"Latency and memory were measured on {plain(record.hardware)} ({plain(record.device)}, threads: "
        f"{record.threads}); other machines give other values."
    )
    if verdict is not None and verdict.loss.num > 1:
        seeds = [f"These weights come from one seed. {_confirmation_sentences(verdict)}"]
    else:
        seeds = [
            "One seed. Differences between architectures of this size are often within the noise between seeds.",
            "The model was chosen among many trials by these numbers, so they are optimistic: confirm with new seeds.",
        ]
    return [first, *seeds, measured, RECIPE_LIMIT, *others]


def _metrics(record: Record, verdict: Verdict | None) -> list[Metric]:
    rows = []
    for name, meaning in (*_meanings(cost=False), *_TEST_METRICS, *_meanings(cost=True)):
        value = column_value(record, name)
        if value is None:
            continue
        interval = ""
        # The ratio of the reference is 1 by definition.
        ends = OBJECTIVES[name].interval_columns if name in OBJECTIVES and not record.reference else ()
        low, high = [value_of(record, column) for column in ends] or (None, None)
        if low is not None and high is not None:
            interval = f"{show(name, low)} to {show(name, high)}, over measurements"
        rows.append(Metric(meaning, show(name, value), interval))
    rows.append(
        Metric(
            "tokens of training for each parameter, the embedding included", ratio_text(tokens_per_parameter(record))
        )
    )
    if verdict is not None and verdict.loss.num > 1:
        seeds = plural(verdict.loss.num, "fresh seed")
        mean = show("perplexity", math.exp(verdict.loss.mean))
        rows.insert(1, Metric(f"the same, mean of {seeds}", mean, f"{interval_text(verdict)}, over seeds"))
        test = held_out_text(verdict.test)
        if test.value:
            interval = f"{test.interval}, over seeds" if test.interval else ""
            rows.insert(2, Metric(f"test perplexity, mean of {seeds}", test.value, interval))
        if verdict.difference is not None:
            difference, interval = difference_text(verdict)
            meaning = "loss minus that of the plain architecture of its depth and budget, nat/token"
            rows.insert(2, Metric(meaning, difference, f"{interval}, over seeds and text" if interval else ""))
    return rows


def _meanings(*, cost: bool) -> list[tuple[str, str]]:
    """Returns name and meaning of the costs, or of the quality objectives."""
    return [(item.name, item.meaning) for item in OBJECTIVES.values() if item.cost is cost]


def _confirmation_sentences(verdict: Verdict) -> str:
    """Returns what the fresh seeds show about the architecture."""
    difference, interval = difference_text(verdict)
    mean = show("perplexity", math.exp(verdict.loss.mean))
    text = f"{verdict.loss.num} fresh seeds of this architecture have a perplexity of {mean} on average "
    text += f"(95 % interval {interval_text(verdict)})"
    if verdict.difference is not None:
        text += f"; the loss differs by {difference} nat/token from the plain architecture of its depth and budget"
        text += f" ({interval})" if interval else ""
    place = "settled" if verdict.settled else f"not settled: {why_not_settled(verdict)}"
    return f"{text}. Its place on the run's front is {place}."


def _rivals(view: RunView, record: Record, *, columns: Sequence[str]) -> list[Rival]:
    members = [
        item
        for place, item in enumerate(view.front)
        if place < _MAX_ROWS or item.architecture_id == record.architecture_id
    ]
    if not members:
        return []
    mark = "this model"
    if all(item.architecture_id != record.architecture_id for item in members):
        members.append(record)
        mark += ", not on the front"
    return [
        Rival(
            f"{short_name(item)}, {plural(item.depth, 'block')}",
            tuple(show(name, column_value(item, name)) for name in columns),
            mark if item.architecture_id == record.architecture_id else "",
        )
        for item in members
    ]


def plain(value: Any) -> Any:
    """Returns text without Markdown or HTML markup and without control characters for a terminal."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    return _CONTROLS.sub(" ", value).replace("`", "'").replace("<", "&lt;").replace("|", "\\|")
