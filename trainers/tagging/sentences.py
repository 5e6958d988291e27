"""Sentences with tags, and a text in three parts of them.

Tags are IOB2: `B-TYPE` at the first word of an entity, `I-TYPE` at its further words, `O` elsewhere. Files in other
schemes are converted when they are read (`tag_schemes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

OUTSIDE = "O"
"""The tag of a word that is part of no entity."""


class Entity(NamedTuple):
    """Words `start` up to but without `end` of a sentence."""

    type: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words, and the IOB2 tag of each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.words) != len(self.tags):
            raise ValueError(f"sentence has {len(self.words)} words and {len(self.tags)} tags; give each word one tag")

    @property
    def entities(self) -> tuple[Entity, ...]:
        """Returns the entities in their order."""
        return entities_of(self.tags)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggedText:
    """Sentences in three parts. `sha256` identifies the sentences, their order and their parts."""

    name: str
    train: tuple[Sentence, ...]
    valid: tuple[Sentence, ...]
    test: tuple[Sentence, ...] = ()
    """Only confirmations and benchmarks read it; empty where there is none, and in every search."""
    entity_types: tuple[str, ...]
    """The types of all three parts, sorted."""
    scheme: str
    """The scheme of the files that were read: IOB1, IOB2, BIOES or BILOU."""
    sha256: str
    notes: tuple[str, ...] = ()
    """What a user should know about the reading, one sentence each."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Returns the tags that a model chooses from: `O`, then `B-` and `I-` of each type."""
        return tag_classes(self.entity_types)

    def without_test(self) -> TaggedText:
        """Returns the text without its test part: what a search trains and evaluates on."""
        return replace(self, test=())


def tag_classes(entity_types: Sequence[str]) -> tuple[str, ...]:
    """Returns `O`, then `B-` and `I-` of each type."""
    return (OUTSIDE, *(f"{prefix}-{entity_type}" for entity_type in entity_types for prefix in "BI"))


def entities_of(tags: Sequence[str]) -> tuple[Entity, ...]:
    """Returns the entities of IOB2 tags. An `I-` that continues no entity of its type is part of none."""
    found: list[Entity] = []
    is_open = False
    for place, tag in enumerate(tags):
        prefix, _, entity_type = tag.partition("-")
        if prefix == "B":
            found.append(Entity(entity_type, place, place + 1))
            is_open = True
        elif prefix == "I" and is_open and found[-1].type == entity_type:
            found[-1] = found[-1]._replace(end=place + 1)
        else:
            is_open = False
    return tuple(found)
