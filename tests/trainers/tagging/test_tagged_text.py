"""A text of its parts: division, types, notes, hash, and parts that are refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from depthweave.trainers.tagging.raw_sentence import RawSentence
from depthweave.trainers.tagging.sentences import Entity, Sentence, TaggedText, entities_of, tag_classes
from depthweave.trainers.tagging.tagged_text import load_conll, make_tagged_text


def _raw(*sentences: str) -> list[RawSentence]:
    """Returns sentences of `word/tag`."""
    pairs = [[item.split("/") for item in text.split(" ")] for text in sentences]
    return [RawSentence(tuple(p[0] for p in some), tuple(p[1] for p in some), "made up") for some in pairs]


def _error(**parts: list[RawSentence]) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        make_tagged_text("some", **parts)
    return str(caught.value)


def test_sentence_has_one_tag_a_word_and_its_entities() -> None:
    sentence = Sentence(("a", "b", "c", "d", "e"), ("B-x", "I-x", "B-x", "O", "B-y"))
    assert sentence.entities == (Entity("x", 0, 2), Entity("x", 2, 3), Entity("y", 4, 5))
    with pytest.raises(ValueError, match="sentence has 1 words and 2 tags"):
        Sentence(("a",), ("O", "O"))


def test_entities_of_leaves_out_words_that_continue_none() -> None:
    assert entities_of(["O", "I-x", "B-x", "I-y", "I-x"]) == (Entity("x", 2, 3),)


def test_tag_classes_are_outside_and_two_of_each_type() -> None:
    assert tag_classes(["creative-work", "x"]) == ("O", "B-creative-work", "I-creative-work", "B-x", "I-x")


def test_load_conll_reads_three_files_as_one_text(tmp_path: Path) -> None:
    for name, content in (
        ("train", "a\tI-x\nb\tI-x\n\nc\tO\n"), ("dev", "a\tI-x\n"), ("test", "d\tI-y\ne\tB-y\n")
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
    text = load_conll(tmp_path / "train", tmp_path / "dev", tmp_path / "test")
    assert text.name == "train"
    assert text.train == (Sentence(("a", "b"), ("B-x", "I-x")), Sentence(("c",), ("O",)))
    assert text.test == (Sentence(("d", "e"), ("B-y", "B-y")),)
    assert (text.entity_types, text.scheme) == (("x", "y"), "IOB1")
    assert text.classes == ("O", "B-x", "I-x", "B-y", "I-y")
    assert text.notes == (
        "tags are IOB1, read as IOB2",
        "type y is only in the test part: it is never learnt, and its entities count as missed",
    )
    assert text.without_test().test == ()


def test_make_tagged_text_notes_what_a_user_should_know() -> None:
    text = make_tagged_text(
        "some", train=_raw("a/B-LOC \xa0/O", "/O b/B-Loc"), valid=_raw("a/B-LOC \xa0/O", "c/B-p"), notes=["first"]
    )
    assert text.notes == (
        "first",
        "tags are IOB2",
        "type p is only in the validation part: it is never learnt, and its entities count as missed",
        "types LOC and Loc differ only in case",
        "3 words are empty or white space, and kept",
        "there is no test part",
        "1 of 2 validation sentences is also in the training part",
    )


def test_make_tagged_text_without_validation_divides_by_words_and_keeps_copies_together() -> None:
    sentences = [f"w{number % 40}/B-x" for number in range(60)]
    text = make_tagged_text("some", train=_raw(*sentences))
    counts = Counter(sentence.words for sentence in text.valid)
    assert 6 <= len(text.valid) <= 7
    assert not set(counts) & {sentence.words for sentence in text.train}
    assert len(text.train) + len(text.valid) == 60
    assert text.notes[1].startswith(f"there is no validation part: {len(text.valid)} of 60 training sentences validate")
    # Renumbered sentences stay where their words are.
    again = make_tagged_text("some", train=_raw(*reversed(sentences)))
    assert Counter(again.valid) == Counter(text.valid)


def test_sha256_depends_on_words_tags_order_and_parts() -> None:
    def text(*, train: tuple[str, ...], valid: tuple[str, ...] = ("c/B-x",), name: str = "some") -> TaggedText:
        return make_tagged_text(name, train=_raw(*train), valid=_raw(*valid))

    one = text(train=("a/B-x", "b/O"))
    # The same entities in another scheme, under another name.
    other = make_tagged_text("else", train=_raw("a/S-x", "b/O"), valid=_raw("c/S-x"))
    assert other.sha256 == one.sha256
    different = [
        text(train=("b/O", "a/B-x")),
        text(train=("a/B-y", "b/O")),
        text(train=("a/B-x b/O",)),
        text(train=("a/B-x",), valid=("b/O", "c/B-x")),
    ]
    assert len({one.sha256, *(item.sha256 for item in different)}) == 5
    # Fixed, so that what is kept by this key is found again by later versions.
    assert one.sha256.startswith("3b1fdcb59a4660bd")


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({"train": []}, "some: the training part has no sentence"),
        ({"train": _raw("a/O"), "valid": _raw("b/B-x")}, "some: no word of the training part is in an entity"),
        ({"train": _raw("a/B-x"), "valid": _raw("b/O")}, "some: no word of the validation part is in an entity"),
        (
            {"train": _raw("a/B-x"), "valid": _raw("b/B-x"), "test": _raw("c/O")},
            "some: no word of the test part is in an entity; are its tags withheld? leave it out",
        ),
        ({"train": _raw("a/O"), "valid": _raw("b/O")}, "made up: no word is in an entity"),
        ({"train": _raw("a/B-x", "a/B-x")}, "some: one sentence cannot both train and validate"),
    ],
)
def test_make_tagged_text_refuses_parts_without_sentences_or_entities(
    parts: dict[str, list[RawSentence]], fault: str
) -> None:
    assert _error(**parts).startswith(fault)


def test_tiny_text_is_whole(tiny: TaggedText) -> None:
    assert (len(tiny.train), len(tiny.valid), len(tiny.test)) == (60, 24, 24)
    assert tiny.entity_types == ("location", "person", "product")


def test_wnut17_is_read_as_it_is(wnut17: Path) -> None:
    text = load_conll(wnut17 / "wnut17train.conll", wnut17 / "emerging.dev.conll", wnut17 / "emerging.test.annotated")
    # Sizes of the shared task's paper.
    assert (len(text.train), len(text.valid), len(text.test)) == (3394, 1009, 1287)
    assert sum(len(sentence.words) for sentence in text.train) == 62_730
    assert sum(len(sentence.entities) for sentence in text.test) == 1079
    assert text.entity_types == ("corporation", "creative-work", "group", "location", "person", "product")
    assert text.notes[0] == "tags are IOB2"
