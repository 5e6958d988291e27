"""Draws the few sentences that a few-shot training sees.

A draw depends on the seed, the unit and the sentences alone: it is the same for every head. The draws of one seed are
nested: that of 50 is the beginning of that of 100. Sentences are ordered by a hash of the seed and their place, which
no version of a library changes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

from depthweave.trainers.tagging.sentences import Sentence

ShotUnit = Literal["sentences", "entities"]
"""`sentences`: so many sentences. `entities`: sentences until every type has so many entities."""


def draw_shots(
    sentences: Sequence[Sentence], shots: int, *, unit: ShotUnit = "sentences", seed: int
) -> tuple[int, ...]:
    """Returns the places of the drawn sentences, in the order of the draw.

    `sentences`: the first `shots` in random order. Where none of them has an entity, the next one that has takes the
    place of the last, so that there is something to learn. `entities`: types take turns, the rarest first, and add the
    next sentence with their type until each has `shots` entities; a sentence may bring several, so that a type may have
    more. Raises a one-line `ValueError` where there are too few sentences or entities.
    """
    if unit not in get_args(ShotUnit):
        raise ValueError(f"unit of shots is {unit!r}; it can be {' or '.join(get_args(ShotUnit))}")
    if shots < 1:
        raise ValueError(f"shots is {shots}; it must be at least 1")
    order = sorted(range(len(sentences)), key=lambda place: _key(seed, place))
    return _by_sentences(sentences, order, shots) if unit == "sentences" else _by_entities(sentences, order, shots)


def _key(seed: int, place: int) -> bytes:
    return hashlib.sha256(f"{seed} {place}".encode()).digest()


def _by_sentences(sentences: Sequence[Sentence], order: Sequence[int], shots: int) -> tuple[int, ...]:
    if shots > len(sentences):
        raise ValueError(f"shots is {shots:,} sentences; the training part has {len(sentences):,}: give at most that")
    first = next((place for place in order if sentences[place].entities), None)
    if first is None:
        raise ValueError("the training part has no entity; shots need one at least")
    # At the front it is in every draw. Draws that reach it anyway hold the same sentences as before.
    return (first, *(place for place in order if place != first))[:shots]


def _by_entities(sentences: Sequence[Sentence], order: Sequence[int], shots: int) -> tuple[int, ...]:
    counts = {place: Counter(entity.type for entity in sentences[place].entities) for place in order}
    total = sum(counts.values(), Counter[str]())
    if not total:
        raise ValueError("the training part has no entity; shots need one at least")
    types = sorted(total, key=lambda entity_type: (total[entity_type], entity_type))
    if total[types[0]] < shots:
        few = ", ".join(f"{name} {total[name]:,}" for name in types if total[name] < shots)
        raise ValueError(
            f"shots is {shots:,} entities of each type; the training part has fewer of some ({few}): give at most "
            f"{total[types[0]]:,}"
        )
    waiting = {name: iter([place for place in order if counts[place][name]]) for name in types}
    drawn: dict[int, None] = {}
    have: Counter[str] = Counter()
    # One more of each type a turn: the turns of a smaller draw are the first of a larger one.
    for wanted in range(1, shots + 1):
        for name in types:
            while have[name] < wanted:
                place = next(item for item in waiting[name] if item not in drawn)
                drawn[place] = None
                have += counts[place]
    return tuple(drawn)
