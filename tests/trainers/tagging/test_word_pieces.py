"""Words as tokens and back: labels at first pieces, cuts, odd words; transformers' fast tokenizer is the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from depthweave.trainers.tagging.sentences import Sentence, TaggedText
from depthweave.trainers.tagging.word_pieces import NO_LABEL, NO_WORD, EncodedSentences, WordPieces
from tests.trainers.tagging.property_tests import unhurried
from tests.trainers.tagging.tiny_text import byte_level_json, metaspace_json, word_piece_json

_FILES: Mapping[str, Callable[[], str]] = {
    "word piece": word_piece_json,
    "byte level": byte_level_json,
    "byte level with prefix": partial(byte_level_json, add_prefix_space=True),
    "byte level after a split": partial(byte_level_json, split=True),
    "metaspace": metaspace_json,
}
_CLASSES = ("O", "B-x", "I-x")


@cache
def _word_pieces(name: str) -> WordPieces:
    return WordPieces(_FILES[name]())


def _sentence(*words: str) -> Sentence:
    """Tags are B-x, I-x, I-x, ...: each word but the first two has the tag of the one before."""
    return Sentence(words, tuple("B-x" if place == 0 else "I-x" for place in range(len(words))))


def _encoded(name: str, *sentences: Sentence, max_tokens: int = 1000) -> EncodedSentences:
    return _word_pieces(name).encode(sentences, classes=_CLASSES, max_tokens=max_tokens)


@pytest.mark.parametrize("name", _FILES)
def test_first_piece_of_every_word_carries_its_label_and_decodes_to_its_tag(name: str, tiny: TaggedText) -> None:
    encoded = _word_pieces(name).encode(tiny.train, classes=tiny.classes, max_tokens=100)
    assert len(encoded) == len(tiny.train)
    assert encoded.notes == ()
    for number, sentence in enumerate(tiny.train):
        part = slice(encoded.starts[number], encoded.starts[number + 1])
        is_first = encoded.first_piece[part] != NO_WORD
        assert encoded.first_piece[part][is_first].tolist() == list(range(len(sentence.words)))
        assert [tiny.classes[label] for label in encoded.labels[part][is_first]] == list(sentence.tags)
        assert set(encoded.labels[part][~is_first].tolist()) <= {NO_LABEL}
    assert encoded.starts[-1] == len(encoded.ids) == len(encoded.labels) == len(encoded.first_piece)
    assert encoded.decode(np.maximum(encoded.labels, 0), classes=tiny.classes) == [item.tags for item in tiny.train]


def test_predictions_at_other_tokens_than_first_pieces_count_nothing(tiny: TaggedText, word_piece: str) -> None:
    encoded = WordPieces(word_piece).encode(tiny.train, classes=tiny.classes, max_tokens=100)
    assert (encoded.labels == NO_LABEL).sum() > 2 * len(tiny.train)
    predicted = np.where(encoded.labels == NO_LABEL, 1, encoded.labels)
    assert encoded.decode(predicted, classes=tiny.classes) == [item.tags for item in tiny.train]
    with pytest.raises(ValueError, match=r"^predictions have shape \(1,\), tokens [^\n]+$"):
        encoded.decode(np.zeros(1, dtype=np.int64), classes=tiny.classes)


_ODD = ["\u200b", "\x07", "\ufeff", "\u200d\u200d", "", " ", "\xa0", "\x00", "\ud7ff", "😀", "a\u0301", "[SEP]"]


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("word", _ODD)
def test_odd_word_moves_no_label(name: str, word: str) -> None:
    sentence = Sentence(("met", word, "Ada", word, word, "London"), ("O", "O", "B-x", "O", "O", "I-x"))
    encoded = _encoded(name, sentence)
    label_of = {int(place): int(label) for place, label in zip(encoded.first_piece, encoded.labels, strict=True)}
    assert (label_of[0], label_of[2], label_of[5]) == (0, 1, 2)
    assert encoded.decode(np.maximum(encoded.labels, 0), classes=_CLASSES) == [sentence.tags]
    plain = _encoded(name, Sentence(("met", "Ada", "London"), ("O", "B-x", "I-x")))
    # The tokens of the other words are those without it.
    others = set(plain.ids.tolist())
    assert others <= set(encoded.ids.tolist())


def test_word_without_a_piece_is_outside_of_entities() -> None:
    encoded = _encoded("word piece", _sentence("\u200b", "Ada", "\x07"))
    assert encoded.first_piece[encoded.first_piece != NO_WORD].tolist() == [1]
    assert encoded.decode(np.ones_like(encoded.ids), classes=_CLASSES) == [("O", "B-x", "O")]


@unhurried
@given(st.lists(st.text(max_size=6), min_size=1, max_size=6), st.sampled_from(sorted(_FILES)))
def test_labels_are_those_of_the_words_that_have_pieces(words: list[str], name: str) -> None:
    sentence = _sentence("Ada", *words)
    encoded = _encoded(name, sentence)
    places = encoded.first_piece[encoded.first_piece != NO_WORD].tolist()
    assert places == sorted(set(places))
    assert encoded.labels[encoded.first_piece != NO_WORD].tolist() == [
        _CLASSES.index(sentence.tags[place]) for place in places
    ]
    assert places


@pytest.mark.parametrize("name", _FILES)
@unhurried
@given(max_pieces=st.integers(1, 30))
def test_long_sentence_is_cut_before_the_word_that_does_not_fit(name: str, max_pieces: int) -> None:
    words = ("Ada", "Lovelace", "\u200b", "made", "the", "Analytical", "Engine", "in", "Göttingen", ".")
    whole = _encoded(name, _sentence(*words))
    num_special = {"word piece": 2, "metaspace": 2}.get(name, 0)
    encoded = _encoded(name, _sentence(*words), max_tokens=max_pieces + num_special)
    assert len(encoded.ids) <= max_pieces + num_special
    kept = encoded.first_piece[encoded.first_piece != NO_WORD].tolist()
    every = whole.first_piece[whole.first_piece != NO_WORD].tolist()
    assert kept == every[: len(kept)]
    if num_special:
        assert (encoded.ids[0], encoded.ids[-1]) == (whole.ids[0], whole.ids[-1])
    ends = [*np.flatnonzero(whole.first_piece != NO_WORD)[1:].tolist(), len(whole.ids) - num_special // 2]
    sizes = [end - num_special // 2 for end in ends]
    assert len(kept) == max(1, sum(size <= max_pieces for size in sizes))
    lost = len(every) - len(kept)
    assert len(encoded.notes) == bool(lost)
    if lost:
        assert f"the last {lost} word" in encoded.notes[0]
    assert encoded.decode(np.ones_like(encoded.ids), classes=_CLASSES)[0].count("B-x") == len(kept)


def test_notes_count_cut_sentences_and_words() -> None:
    many = [_sentence(*["Ada"] * 20)] * 3
    assert (
        _encoded("word piece", *many, max_tokens=12)
        .notes[0]
        .startswith("3 sentences have more than 12 tokens: the last")
    )


def test_too_few_tokens_unknown_tags_and_bad_files_are_one_line(word_piece: str) -> None:
    with pytest.raises(ValueError, match=r"^max_tokens is 2; with 2 special tokens it must be larger than that$"):
        _encoded("word piece", _sentence("a"), max_tokens=2)
    with pytest.raises(ValueError, match=r"^tag 'B-y' is none of the classes \(O, B-x, I-x\)[^\n]*$"):
        _encoded("word piece", Sentence(("a",), ("B-y",)))
    for text in ("", "{}", word_piece[:-9], "[" * 100_000):
        with pytest.raises(
            ValueError, match=r"^tokenizer\.json cannot be read \(.*\); give the file that transformers saves$"
        ):
            WordPieces(text)


def test_padding_and_truncation_in_the_file_are_left_out(word_piece: str) -> None:
    tokenizer = tokenizers.Tokenizer.from_str(word_piece)
    tokenizer.enable_padding(length=50)
    tokenizer.enable_truncation(4)
    sentence = _sentence("Ada", "met", "Grace", "Hopper", "in", "London")
    encoded = WordPieces(tokenizer.to_str()).encode([sentence], classes=_CLASSES, max_tokens=100)
    assert encoded.ids.tolist() == _encoded("word piece", sentence).ids.tolist()


def test_words_get_a_space_only_where_the_tokenizer_reads_it_as_theirs() -> None:
    assert {name: _word_pieces(name).spaces_lead for name in _FILES} == {
        "word piece": False,
        "byte level": True,
        "byte level with prefix": False,
        "byte level after a split": True,
        "metaspace": False,
    }
    assert _word_pieces("word piece").notes == ()
    (note,) = _word_pieces("byte level").notes
    assert "each word gets one" in note


def _fast(text: str) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer.from_str(text))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("word piece", "word piece"),
        # Without a space transformers would write all words together; users turn `add_prefix_space` on.
        ("byte level", "byte level with prefix"),
        ("byte level with prefix", "byte level with prefix"),
        ("metaspace", "metaspace"),
    ],
)
def test_tokens_and_words_are_those_of_transformers(ours: str, theirs: str, tiny: TaggedText) -> None:
    fast = _fast(_FILES[theirs]())
    sentences = [*tiny.test, _sentence("Ada", "\u200b", "\u200bKurt", "don't", "\x07", "[SEP]", "日本", "x" * 300)]
    encoded = _encoded(ours, *[_sentence(*item.words) for item in sentences])
    output = fast([list(item.words) for item in sentences], is_split_into_words=True)
    assert encoded.ids.tolist() == [number for ids in output["input_ids"] for number in ids]
    firsts = []
    for number in range(len(sentences)):
        words = output.word_ids(number)
        firsts += [
            NO_WORD if word is None or word == before else word
            for before, word in zip([None, *words], words, strict=False)
        ]
    assert encoded.first_piece.tolist() == firsts


def test_words_of_a_split_byte_level_tokenizer_are_those_of_the_running_text(tiny: TaggedText) -> None:
    # Here `add_prefix_space` would put a space before every piece, so the running text is the oracle.
    fast = _fast(byte_level_json(split=True))
    for sentence in tiny.test:
        encoded = _encoded("byte level after a split", _sentence(*sentence.words))
        assert encoded.ids.tolist() == fast(" " + " ".join(sentence.words))["input_ids"]
