"""Schemes of tags: recognised over all files, converted to IOB2, refused where mixed; seqeval is the oracle."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthweave.trainers.tagging.raw_sentence import RawSentence
from depthweave.trainers.tagging.sentences import Entity, entities_of
from depthweave.trainers.tagging.tag_schemes import normalise
from tests.trainers.tagging.property_tests import unhurried

_LETTERS = {"IOB2": "BIIB", "BIOES": "BIES", "BILOU": "BILU"}
"""For first, further and last word, and for one alone."""


def _raw(*sentences: str, source: str = "some.conll") -> list[RawSentence]:
    """Returns sentences of these tags, with an empty line between two."""
    found, line = [], 1
    for text in sentences:
        tags = tuple(text.split())
        found.append(RawSentence(tuple("w" * len(tags)), tags, source, range(line, line + len(tags))))
        line += len(tags) + 1
    return found


def _normal(*sentences: str) -> list[str]:
    return [" ".join(sentence.tags) for sentence in normalise({"train": _raw(*sentences)}).parts["train"]]


def _error(**parts: list[RawSentence]) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        normalise(parts)
    return str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "tags", "expected"),
    [
        ("IOB2", "B-x I-x B-x O B-y", "B-x I-x B-x O B-y"),
        ("IOB1", "I-x I-x B-x O I-y", "B-x I-x B-x O B-y"),
        ("IOB1", "I-x I-y B-y I-y O", "B-x B-y B-y I-y O"),
        ("BIOES", "B-x E-x S-x O S-y", "B-x I-x B-x O B-y"),
        ("BIOES", "B-x I-x E-x B-x E-x", "B-x I-x I-x B-x I-x"),
        ("BILOU", "B-x L-x U-x O U-y", "B-x I-x B-x O B-y"),
        ("IOB2", "B-creative-work I-creative-work O", "B-creative-work I-creative-work O"),
    ],
)
def test_normalise_recognises_a_scheme_and_converts_it(scheme: str, tags: str, expected: str) -> None:
    found = normalise({"train": _raw(tags)})
    assert (found.scheme, _normal(tags)) == (scheme, [expected])
    assert found.notes == ("tags are IOB2" if scheme == "IOB2" else f"tags are {scheme}, read as IOB2",)


def test_normalise_gives_letters_without_a_type_one_type_and_says_so() -> None:
    assert _normal("B I O", "O B") == ["B-entity I-entity O", "O B-entity"]
    assert "the type is called entity" in normalise({"train": _raw("B I O")}).notes[1]
    assert "some.conll, line 1: tag 'B' has no type, but 'I-x' has one (some.conll, line 2)" in _error(
        train=_raw("B I-x O")
    )


def test_normalise_decides_over_all_files_together() -> None:
    # The validation file alone would be IOB1 or IOB2: it has no entity.
    parts = {"train": _raw("O I-x"), "valid": _raw("O O"), "test": _raw("I-x B-x")}
    found = normalise(parts)
    assert found.scheme == "IOB1"
    assert [sentence.tags for sentence in found.parts["valid"]] == [("O", "O")]
    assert [sentence.tags for sentence in found.parts["test"]] == [("B-x", "B-x")]


def test_normalise_names_the_rarer_of_two_ways_to_begin_an_entity() -> None:
    message = _error(train=_raw("B-x O B-y", "B-x", source="a"), test=_raw("B-x", "O I-x", source="b"))
    assert message == (
        "b, line 4: I-x begins an entity, as in IOB1 (once), but B-x does as in IOB2 (4 times, first in a, line 1); "
        "convert all files to one scheme"
    )
    assert _error(train=_raw("I-x O I-x", "B-x I-y")).startswith(
        "some.conll, line 5: B-x begins an entity, as in IOB2 (once), but I-x does as in IOB1 (3 times"
    )


@pytest.mark.parametrize(
    ("tags", "fault"),
    [
        ("B-x O S-y", "line 1: B-x is not continued; the tags are BIOES, since S-y is one (some.conll, line 3)"),
        ("S-x B-y", "line 2: B-y is not continued"),
        ("B-x I-x B-x E-x", "line 2: I-x is not continued"),
        ("B-x E-y", "line 1: B-x is not continued"),
        ("S-x E-x", "line 2: E-x continues no entity"),
        ("O I-x E-x", "line 2: I-x continues no entity"),
        ("B-x L-x I-x", "line 3: I-x continues no entity; the tags are BILOU, since L-x is one"),
        ("U-x S-x", "line 1: tag 'U-x' is of BILOU, but 'S-x' is of BIOES (some.conll, line 2); convert"),
    ],
)
def test_normalise_refuses_entities_without_an_end_or_a_beginning(tags: str, fault: str) -> None:
    assert f"some.conll, {fault}" in _error(train=_raw(tags))


@pytest.mark.parametrize(
    ("tag", "advice"),
    [
        ("0", "write the letter O"),
        ("o", "write the letter O"),
        ("b-person", "write B-person"),
        ("B_person", "write B-person"),
        ("(PERSON*", "convert brackets of CoNLL-2012 to IOB2"),
        ("*", "convert brackets"),
        ("B-", "correct it, or name the column"),
        ("M-person", "correct it, or name the column"),
        ("NNP", "correct it, or name the column of the tags"),
        ("x" * 200, "x...'"),
    ],
)
def test_normalise_names_an_unknown_tag_and_what_to_do(tag: str, advice: str) -> None:
    message = _error(train=_raw("O B-x", f"O {tag}"))
    assert message.startswith("some.conll, line 5: tag ")
    assert "a tag is O, or B-, I-, E-, S- (BIOES), L- or U- (BILOU) and a type" in message
    assert advice in message
    assert len(message) < 250


def test_normalise_without_an_entity_names_the_files() -> None:
    assert _error(train=_raw("O O", source="a"), test=_raw("O", source="b")) == (
        "a, b: no word is in an entity, every tag is O; name the column of the tags"
    )


@st.composite
def _texts(draw: st.DrawFn) -> list[list[str]]:
    """Draws sentences of IOB2 tags, at least one entity in all."""
    entities = st.tuples(st.sampled_from(["x", "y", "a-b"]), st.integers(1, 3))
    items = st.lists(st.one_of(st.none(), entities), min_size=1, max_size=6)
    sentences = draw(st.lists(items, min_size=1, max_size=5).filter(lambda found: any(any(item) for item in found)))
    return [
        [
            tag
            for item in sentence
            for tag in (["O"] if item is None else [f"B-{item[0]}", *[f"I-{item[0]}"] * (item[1] - 1)])
        ]
        for sentence in sentences
    ]


def _written(tags: Sequence[str], *, scheme: str) -> list[str]:
    """Returns IOB2 tags in another scheme: entity by entity, where the code goes word by word."""
    found = ["O"] * len(tags)
    last: Entity | None = None
    for entity in entities_of(tags):
        size = entity.end - entity.start
        if scheme == "IOB1":
            touches = last is not None and (last.end, last.type) == (entity.start, entity.type)
            letters = ("B" if touches else "I") + "I" * (size - 1)
        else:
            first, inner, end, alone = _LETTERS[scheme]
            letters = alone if size == 1 else first + inner * (size - 2) + end
        for place, letter in enumerate(letters, start=entity.start):
            found[place] = f"{letter}-{entity.type}"
        last = entity
    return found


@unhurried
@given(_texts(), st.sampled_from(["IOB1", "IOB2", "BIOES", "BILOU"]))
def test_normalise_takes_every_scheme_back_to_the_tags_that_were_written_in_it(
    text: list[list[str]], scheme: str
) -> None:
    written = [_written(tags, scheme=scheme) for tags in text]
    found = normalise({"train": _raw(*map(" ".join, written))})
    assert [list(sentence.tags) for sentence in found.parts["train"]] == text
    marks = {letter for tags in written for tag in tags for letter in tag[0]}
    # Without a mark of its own a text of BIOES or BILOU cannot exist.
    assert found.scheme == scheme
    assert (scheme == "BIOES") == bool(marks & set("ES"))


@unhurried
@given(_texts(), st.sampled_from(["IOB1", "IOB2", "BIOES", "BILOU"]))
def test_normalise_finds_the_entities_that_seqeval_finds(text: list[list[str]], scheme: str) -> None:
    schemes = pytest.importorskip("seqeval.scheme")
    written = [_written(tags, scheme=scheme) for tags in text]
    theirs = schemes.Entities(written, getattr(schemes, {"BIOES": "IOBES"}.get(scheme, scheme))).entities
    ours = normalise({"train": _raw(*map(" ".join, written))}).parts["train"]
    assert [sentence.entities for sentence in ours] == [
        tuple(Entity(item.tag, item.start, item.end) for item in sentence) for sentence in theirs
    ]


_TAGS = [f"{letter}-{entity_type}" for letter in "BIESLU" for entity_type in "xy"]


@unhurried
@given(st.lists(st.lists(st.sampled_from(["O", *_TAGS[:4]]), min_size=1, max_size=4), min_size=1, max_size=3))
def test_normalise_refuses_exactly_what_is_neither_iob1_nor_iob2(text: list[list[str]]) -> None:
    _check_against_rules(text, schemes=("IOB1", "IOB2"))


@unhurried
@given(st.lists(st.lists(st.sampled_from(["O", *_TAGS]), min_size=1, max_size=4), min_size=1, max_size=2))
def test_normalise_refuses_exactly_what_is_no_scheme(text: list[list[str]]) -> None:
    _check_against_rules(text, schemes=("IOB1", "IOB2", "BIOES", "BILOU"))


_PAIRS = {
    "IOB1": lambda a, b, same: b[0] in "OI" or (b[0] == "B" and same),
    "IOB2": lambda a, b, same: b[0] in "OB" or (b[0] == "I" and same),
    "BIOES": lambda a, b, same: (b[0] in "IE" and same) if a[0] in "BI" else b[0] in "OBS",
    "BILOU": lambda a, b, same: (b[0] in "IL" and same) if a[0] in "BI" else b[0] in "OBU",
}
"""For each scheme, whether a tag may follow another. With O at both ends of a sentence this says what is valid."""


def _check_against_rules(text: list[list[str]], *, schemes: Sequence[str]) -> None:
    pairs = [pair for tags in text for pair in zip(["O", *tags], [*tags, "O"], strict=True)]
    valid = [scheme for scheme in schemes if all(_PAIRS[scheme](a, b, a != "O" and a[1:] == b[1:]) for a, b in pairs)]
    raw = {"train": _raw(*map(" ".join, text))}
    if valid and any(tag != "O" for tags in text for tag in tags):
        # Exactly one: a text with an entity is never of two schemes.
        assert [normalise(raw).scheme] == valid
    else:
        _error(**raw)
