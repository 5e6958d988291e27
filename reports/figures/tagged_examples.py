"""Sentences of the validation part with their entities under several heads, in `examples.json` of a run.

The file is a JSON object with its checksum and a list `examples` of {words, gold, predicted: {head: tags}}, where tags
are IOB2 and one a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from depthweave.reports.figures.palette import colour_of
from depthweave.reports.store.bounds import json_value
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.checksums import add_checksum, verified_values

EXAMPLES_FILE = "examples.json"
MAX_EXAMPLES = 6
"""Sentences of a file that are shown."""
_MAX_WORDS = 40
"""Longer sentences are hard to compare and are not chosen."""
_MAX_HEADS = 4
_GOLD = "gold"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggedExample:
    """A sentence."""

    words: tuple[str, ...]
    gold: tuple[str, ...]
    """The IOB2 tag of each word."""
    predicted: Mapping[str, tuple[str, ...]]
    """The tags that each head gives."""


class Piece(NamedTuple):
    """Some words of a sentence: an entity, or what is between two."""

    text: str
    type: str
    """Empty between entities."""
    verdict: str
    """`right` or `wrong` for an entity that a head found; else empty."""


class ExampleLine(NamedTuple):
    """A sentence as the gold tags or a head mark it."""

    name: str
    colour: str
    """That of the head; empty for gold."""
    pieces: list[Piece]
    summary: str
    """Such as "1 of 2 found, 1 wrong"."""


class Example(NamedTuple):
    """A sentence, first as it should be."""

    lines: list[ExampleLine]


class _Span(NamedTuple):
    type: str
    start: int
    end: int


def choose_examples(
    words: Sequence[Sequence[str]],
    gold: Sequence[Sequence[str]],
    predicted: Mapping[str, Sequence[Sequence[str]]],
    *,
    num: int = 3,
) -> list[TaggedExample]:
    """Returns the sentences on which the heads differ most in the entities that they get right, whichever is ahead.

    Each argument has one entry a sentence. Sentences of over 40 words are left out, and those without a difference.
    """
    ranked = []
    for place, (own_words, own_gold) in enumerate(zip(words, gold, strict=True)):
        wanted = set(_spans(own_gold))
        found = [set(_spans(tags[place])) for tags in predicted.values()]
        # An entity too much counts against a head as a missed one does.
        right = [len(wanted & own) - len(own - wanted) for own in found]
        if wanted and len(own_words) <= _MAX_WORDS and max(right) > min(right):
            ranked.append((min(right) - max(right), place))
    return [
        TaggedExample(
            words=tuple(words[place]),
            gold=tuple(gold[place]),
            predicted={head: tuple(tags[place]) for head, tags in predicted.items()},
        )
        for _, place in sorted(ranked)[:num]
    ]


def write_examples(store: RunStore, examples: Sequence[TaggedExample]) -> None:
    """Replaces the run's file of examples."""
    values = [
        {
            "words": list(it.words),
            "gold": list(it.gold),
            "predicted": {head: list(tags) for head, tags in it.predicted.items()},
        }
        for it in examples
    ]
    text = json.dumps(add_checksum({"examples": values}), indent=1, ensure_ascii=False)
    store.write_bytes(EXAMPLES_FILE, text.encode())


def read_examples(store: RunStore) -> list[TaggedExample]:
    """Returns the run's examples, none without a file. Raises `ValueError` with one line where the file is damaged."""
    if not store.has_file(EXAMPLES_FILE):
        return []
    try:
        values = verified_values(json_value(store.read_bytes(EXAMPLES_FILE).decode()))
        return [_example(item) for item in values["examples"]]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{store.where}/{EXAMPLES_FILE}: cannot be read ({reason}); delete it") from None


def example_of(tagged: TaggedExample) -> Example:
    """Returns the sentence with its entities marked, by gold and by each head."""
    wanted = set(_spans(tagged.gold))
    lines = [ExampleLine(_GOLD, "", _pieces(tagged.words, tagged.gold, wanted=None), _entities_text(len(wanted)))]
    for head, tags in list(tagged.predicted.items())[:_MAX_HEADS]:
        found = set(_spans(tags))
        wrong = len(found - wanted)
        count = f"{len(found & wanted)} of {len(wanted)} found" + (f", {wrong} wrong" if wrong else "")
        lines.append(ExampleLine(head, colour_of(head), _pieces(tagged.words, tags, wanted=wanted), count))
    return Example(lines)


def _example(values: Any) -> TaggedExample:
    words = _texts(values["words"], what="words")
    tags = {_GOLD: values["gold"], **{str(head): own for head, own in values["predicted"].items()}}
    checked = {name: _texts(own, what=f"tags of {name}") for name, own in tags.items()}
    for name, own in checked.items():
        if len(own) != len(words):
            raise ValueError(f"{len(words)} words have {len(own)} tags of {name}")
    return TaggedExample(words=words, gold=checked.pop(_GOLD), predicted=checked)


def _texts(values: Any, *, what: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise ValueError(f"{what} are no list of text")
    return tuple(values)


def _spans(tags: Sequence[str]) -> list[_Span]:
    """Returns the entities of IOB2 tags. An `I-` that continues no entity of its type is part of none."""
    found: list[_Span] = []
    is_open = False
    for place, tag in enumerate(tags):
        prefix, _, entity_type = tag.partition("-")
        if prefix == "B":
            found.append(_Span(entity_type, place, place + 1))
            is_open = True
        elif prefix == "I" and is_open and found[-1].type == entity_type:
            found[-1] = found[-1]._replace(end=place + 1)
        else:
            is_open = False
    return found


def _pieces(words: Sequence[str], tags: Sequence[str], *, wanted: set[_Span] | None) -> list[Piece]:
    spans = {span.start: span for span in _spans(tags)}
    inside = {place for span in spans.values() for place in range(span.start + 1, span.end)}
    starts = [place for place in range(len(words)) if place not in inside]
    pieces: list[Piece] = []
    for start, end in pairwise([*starts, len(words)]):
        text = " ".join(words[start:end])
        span = spans.get(start)
        if span is not None:
            verdict = "" if wanted is None else "right" if span in wanted else "wrong"
            pieces.append(Piece(text, span.type, verdict))
        elif pieces and not pieces[-1].type:
            pieces[-1] = pieces[-1]._replace(text=f"{pieces[-1].text} {text}")
        else:
            pieces.append(Piece(text, "", ""))
    return pieces


def _entities_text(num: int) -> str:
    return "1 entity" if num == 1 else f"{num or 'no'} entities"
