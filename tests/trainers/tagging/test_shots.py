"""Draws of few sentences: nested, the same for one seed, never without an entity."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthweave.trainers.tagging.sentences import Sentence, TaggedText
from depthweave.trainers.tagging.shots import draw_shots
from tests.trainers.tagging.property_tests import unhurried

_TAGS = st.sampled_from(["O", "O", "O", "B-x", "B-y"])
_SENTENCE = st.lists(_TAGS, min_size=1, max_size=3).map(lambda tags: Sentence(("w",) * len(tags), tuple(tags)))
_SENTENCES = st.lists(_SENTENCE, min_size=1, max_size=12)
_SEEDS = st.integers(0, 2**32)


def _counts(sentences: list[Sentence], drawn: tuple[int, ...]) -> Counter[str]:
    return Counter(entity.type for place in drawn for entity in sentences[place].entities)


@unhurried
@given(_SENTENCES.filter(lambda some: any(item.entities for item in some)), _SEEDS)
def test_draws_of_sentences_are_nested_distinct_and_have_an_entity(sentences: list[Sentence], seed: int) -> None:
    draws = [draw_shots(sentences, shots, seed=seed) for shots in range(1, len(sentences) + 1)]
    for shots, drawn in enumerate(draws, start=1):
        assert len(set(drawn)) == len(drawn) == shots
        assert drawn == draws[-1][:shots]
        assert _counts(sentences, drawn)
    assert sorted(draws[-1]) == list(range(len(sentences)))


@unhurried
@given(_SENTENCES.filter(lambda some: any(item.entities for item in some)), _SEEDS)
def test_draws_of_entities_are_nested_and_have_enough_of_each_type(sentences: list[Sentence], seed: int) -> None:
    total = _counts(sentences, tuple(range(len(sentences))))
    before: tuple[int, ...] = ()
    for shots in range(1, min(total.values()) + 1):
        drawn = draw_shots(sentences, shots, unit="entities", seed=seed)
        assert len(set(drawn)) == len(drawn)
        assert drawn[: len(before)] == before
        assert min(_counts(sentences, drawn)[name] for name in total) >= shots
        # The last sentence was needed.
        assert not drawn or min(_counts(sentences, drawn[:-1])[name] for name in total) < shots
        before = drawn
    with pytest.raises(ValueError, match=r"^shots is [^\n]+: give at most \d+$"):
        draw_shots(sentences, min(total.values()) + 1, unit="entities", seed=seed)


def test_draw_with_an_entity_in_reach_is_the_plain_one() -> None:
    outside, inside = Sentence(("w",), ("O",)), Sentence(("w",), ("B-x",))
    plain = draw_shots([inside] * 20, 20, seed=5)
    # Only the fourth of the plain order has an entity.
    sentences = [inside if place == plain[3] else outside for place in range(20)]
    assert set(draw_shots(sentences, 7, seed=5)) == set(plain[:7])
    assert set(draw_shots(sentences, 2, seed=5)) == {plain[0], plain[3]}


def test_draws_of_other_seeds_differ_and_are_even(tiny: TaggedText) -> None:
    draws = [draw_shots(tiny.train, 30, seed=seed) for seed in range(200)]
    assert len(set(draws)) == 200
    counts = Counter(place for drawn in draws for place in drawn)
    # Each sentence is in half of the draws: 100 of 200, with a standard deviation of 7.
    assert all(65 <= counts[place] <= 135 for place in range(len(tiny.train)))


def test_draw_is_the_same_in_every_version() -> None:
    sentences = [Sentence(("w",), ("B-x",))] * 10
    assert draw_shots(sentences, 4, seed=0) == (6, 4, 2, 1)


@pytest.mark.parametrize(
    ("shots", "unit", "fault"),
    [
        (0, "sentences", "shots is 0; it must be at least 1"),
        (61, "sentences", "shots is 61 sentences; the training part has 60: give at most that"),
        (999, "entities", r"shots is 999 entities of each type; the training part has fewer of some \(product 20, "),
        (1, "words", "unit of shots is 'words'; it can be sentences or entities"),
    ],
)
def test_draw_shots_says_what_is_possible(tiny: TaggedText, shots: int, unit: str, fault: str) -> None:
    with pytest.raises(ValueError, match=rf"^{fault}[^\n]*$"):
        draw_shots(tiny.train, shots, unit=unit, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["sentences", "entities"])
def test_draw_shots_without_an_entity_says_so(unit: str) -> None:
    with pytest.raises(ValueError, match="the training part has no entity"):
        draw_shots([Sentence(("w",), ("O",))], 1, unit=unit, seed=0)  # type: ignore[arg-type]
