"""Example sentences: entities become marked pieces, the file is read back or refused, and telling ones are chosen."""

from __future__ import annotations

import json

import pytest

from depthweave.reports.figures.tagged_examples import (
    EXAMPLES_FILE,
    Piece,
    TaggedExample,
    choose_examples,
    example_of,
    read_examples,
    write_examples,
)
from depthweave.reports.store.run_store import RunStore
from tests.reports.tagged import EXAMPLES

_GOLD = (["O", "B-a", "I-a"], ["B-b", "O"], ["O", "B-a"], ["O", "O"])
_WORDS = (["x", "y", "z"], ["u", "v"], ["s", "t"], ["q", "r"])


def test_entities_are_pieces_with_a_verdict() -> None:
    gold, deeper, dwatt = example_of(EXAMPLES[0]).lines
    assert (gold.name, gold.summary, gold.colour) == ("gold", "3 entities", "")
    assert [piece for piece in gold.pieces if piece.type] == [
        Piece("Game of Thrones", "creative-work", ""),
        Piece("@ada", "person", ""),
        Piece("New York", "location", ""),
    ]
    assert " ".join(piece.text for piece in deeper.pieces) == " ".join(EXAMPLES[0].words)
    assert deeper.pieces == [
        Piece("Watching", "", ""),
        Piece("Game", "group", "wrong"),
        Piece("of", "", ""),
        Piece("Thrones", "person", "wrong"),
        Piece("with @ada in", "", ""),
        Piece("New York", "location", "right"),
        Piece("tonight !", "", ""),
    ]
    assert (deeper.summary, dwatt.summary) == ("1 of 3 found, 2 wrong", "2 of 3 found")


def test_a_stray_inside_tag_is_no_entity() -> None:
    tagged = TaggedExample(words=("a", "b"), gold=("O", "O"), predicted={"mix": ("I-x", "I-x")})
    gold, mix = example_of(tagged).lines
    assert mix.pieces == [Piece("a b", "", "")]
    assert (gold.summary, mix.summary) == ("no entities", "0 of 0 found")


def test_adjacent_entities_stay_apart() -> None:
    tagged = TaggedExample(words=("a", "b", "c"), gold=("B-x", "B-x", "I-x"), predicted={})
    assert [piece.text for piece in example_of(tagged).lines[0].pieces] == ["a", "b c"]


def test_sentences_that_differ_most_are_chosen_whichever_head_is_ahead() -> None:
    one = (["O", "B-a", "I-a"], ["O", "O"], ["O", "B-a"], ["B-a", "O"])
    other = (["O", "B-a", "I-a"], ["B-b", "O"], ["B-b", "O"], ["O", "O"])
    found = choose_examples(_WORDS, _GOLD, {"one": one, "other": other})
    # The third sentence has an entity missed and one too much, the second one missed, the first none.
    assert [it.words for it in found] == [("s", "t"), ("u", "v")]
    assert found[1].predicted == {"one": ("O", "O"), "other": ("B-b", "O")}
    assert len(choose_examples(_WORDS, _GOLD, {"one": one, "other": other}, num=1)) == 1
    assert choose_examples(_WORDS, _GOLD, {"one": one, "same": one}) == []


def test_long_sentences_are_not_chosen() -> None:
    words, gold, none = [["w"] * 41], [["B-a", *["O"] * 40]], [["O"] * 41]
    assert choose_examples(words, gold, {"one": gold, "other": none}) == []


def test_file_is_read_as_it_was_written(store: RunStore) -> None:
    assert read_examples(store) == []
    write_examples(store, EXAMPLES)
    assert read_examples(store) == list(EXAMPLES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ('{"examples": [{"words": ["a"], "gold": [], "predicted": {}}]}', "1 words have 0 tags of gold"),
        ('{"examples": [{"words": "a", "gold": [], "predicted": {}}]}', "words are no list of text"),
        ('{"examples": [{"words": [], "gold": []}]}', "'predicted'"),
        ('{"examples": [], "sha256": "0"}', "it is damaged: its values do not match the checksum in it"),
        ("[]", ""),
    ],
)
def test_damaged_file_is_one_line(text: str, reason: str, store: RunStore) -> None:
    store.write_bytes(EXAMPLES_FILE, text.encode())
    with pytest.raises(
        ValueError, match=rf"^{store.where}/examples.json: cannot be read \([^\n]*\); delete it$"
    ) as raised:
        read_examples(store)
    assert reason in str(raised.value)


def test_file_is_plain_json(store: RunStore) -> None:
    write_examples(store, EXAMPLES[:1])
    values = json.loads(store.read_bytes(EXAMPLES_FILE))
    assert values["examples"][0]["words"][1] == "Game"
    assert set(values["examples"][0]["predicted"]) == {"deeper", "dwatt"}
