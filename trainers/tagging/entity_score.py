"""Precision, recall and F1 of entities: an entity counts where first word, last word and type are all right.

The entities are those of seqeval's strict rule for IOB2: a predicted `I-` that continues no entity of its type is part
of none. The sums over all types are micro averages, the usual score of named-entity recognition. A quotient by zero
is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from depthweave.trainers.tagging.sentences import OUTSIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeScore:
    """The scores of one type."""

    f1: float
    """Harmonic mean of precision and recall, in [0, 1]."""
    precision: float
    """Share of the predicted entities that are right."""
    recall: float
    """Share of the gold entities that are found."""
    support: int
    """Number of gold entities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityScore:
    """The micro averages over all types, and the scores of each type."""

    f1: float
    precision: float
    recall: float
    support: int
    by_type: Mapping[str, TypeScore]
    """Every type of the gold or the predicted tags that has an entity, sorted."""


def score(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> EntityScore:
    """Returns the score of predicted IOB2 tags, one sequence a sentence and one tag a word.

    Raises a one-line `ValueError` where sentences or words differ in number, for tags that are no IOB2, and without the
    package seqeval.
    """
    _check_lengths(gold, predicted)
    numbers: dict[str, int] = {}
    # Sentences without any entity change nothing and are most of the time.
    pairs = [(a, b) for a, b in zip(gold, predicted, strict=True) if _has_entity(a) or _has_entity(b)]
    gold_entities, predicted_entities = (
        _entities([[_numbered(tag, numbers) for tag in tags] for tags in side])
        for side in ([a for a, _ in pairs], [b for _, b in pairs])
    )
    by_type = {}
    correct = 0
    for entity_type, number in sorted(numbers.items()):
        right, guessed = gold_entities.get(number, set()), predicted_entities.get(number, set())
        correct += len(right & guessed)
        if right or guessed:
            by_type[entity_type] = _scores(len(right & guessed), num_predicted=len(guessed), num_gold=len(right))
    num_gold, num_predicted = (sum(map(len, side.values())) for side in (gold_entities, predicted_entities))
    total = _scores(correct, num_predicted=num_predicted, num_gold=num_gold)
    return EntityScore(
        f1=total.f1, precision=total.precision, recall=total.recall, support=total.support, by_type=by_type
    )


_Span = tuple[int, int, int]
"""Sentence, first word and last word."""


def _entities(tags: list[list[str]]) -> dict[int, set[_Span]]:
    """Returns the entities of each type, by seqeval."""
    try:
        from seqeval.scheme import IOB2, Entities
    except ImportError:
        raise ValueError("scores of entities need the package seqeval; install depthweave[ner]") from None
    found: dict[int, set[_Span]] = {}
    for sentence, entities in enumerate(Entities(tags, IOB2).entities):
        for entity in entities:
            found.setdefault(int(entity.tag), set()).add((sentence, entity.start, entity.end))
    return found


def _numbered(tag: str, numbers: dict[str, int]) -> str:
    """Returns the tag with a number for its type: seqeval changes types that begin or end with a hyphen."""
    if tag == OUTSIDE:
        return tag
    prefix, _, entity_type = tag.partition("-")
    if prefix not in ("B", "I") or not entity_type:
        raise ValueError(f"tag {tag!r:.60} is not IOB2; it can be O, or B- or I- and a type")
    return f"{prefix}-{numbers.setdefault(entity_type, len(numbers))}"


def _has_entity(tags: Sequence[str]) -> bool:
    return any(tag != OUTSIDE for tag in tags)


def _check_lengths(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
    if len(gold) != len(predicted):
        raise ValueError(f"there are {len(gold):,} sentences and {len(predicted):,} predictions; give one a sentence")
    for number, (tags, others) in enumerate(zip(gold, predicted, strict=True), start=1):
        if len(tags) != len(others):
            raise ValueError(
                f"sentence {number:,} has {len(tags)} tags and {len(others)} predicted ones; give one a word"
            )


def _scores(correct: int, *, num_predicted: int, num_gold: int) -> TypeScore:
    return TypeScore(
        f1=_share(2 * correct, num_predicted + num_gold),
        precision=_share(correct, num_predicted),
        recall=_share(correct, num_gold),
        support=num_gold,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
