"""Recognises how the tags of a text mark entities, and converts them to IOB2.

| scheme | first word | further words | last word | one word alone |
|---|---|---|---|---|
| IOB1 | `I-`, or `B-` directly after an entity of the same type | `I-` | `I-` | as the first word |
| IOB2 | `B-` | `I-` | `I-` | `B-` |
| BIOES | `B-` | `I-` | `E-` | `S-` |
| BILOU | `B-` | `I-` | `L-` | `U-` |

All files of a text are read as one scheme. `E-` or `S-` anywhere means BIOES, `L-` or `U-` BILOU. IOB1 and IOB2 differ
in the first word of an entity that follows no entity of its type. Every run of entities begins with such a word, so a
file that is valid in both has no entity, and it follows the other files. Anything else is refused: a guess would move
entities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from depthweave.trainers.tagging.raw_sentence import RawSentence
from depthweave.trainers.tagging.sentences import OUTSIDE, Sentence

Scheme = Literal["IOB1", "IOB2", "BIOES", "BILOU"]

BARE_TYPE = "entity"
"""The type of tags that are a letter alone, as in files with one type."""

_IN_IOB2: Mapping[str, str] = {"B": "B", "I": "I", "E": "I", "S": "B", "L": "I", "U": "B"}
_ONLY_IN: Mapping[Scheme, str] = {"BIOES": "ES", "BILOU": "LU"}
_MAX_SHOWN = 40


class Normalised(NamedTuple):
    """The sentences of each part in IOB2, and the scheme that they had."""

    scheme: Scheme
    parts: Mapping[str, tuple[Sentence, ...]]
    notes: tuple[str, ...]


def normalise(parts: Mapping[str, Sequence[RawSentence]]) -> Normalised:
    """Returns the sentences of all parts in IOB2.

    Raises a one-line `ValueError` for a tag of no scheme, for a mixture of schemes, and where no word is in an entity.
    """
    sentences = [sentence for part in parts.values() for sentence in part]
    known, first = _known_tags(sentences)
    bare = _check_bare(known, first)
    scheme = _recognise(sentences, known, first)
    converted = {name: tuple(_convert(part, known, scheme=scheme)) for name, part in parts.items()}
    notes = [f"tags are {scheme}" + ("" if scheme == "IOB2" else ", read as IOB2")]
    if bare:
        notes.append(f"tags are letters without a type; the type is called {BARE_TYPE}")
    return Normalised(scheme, converted, tuple(notes))


class _Tag(NamedTuple):
    letter: str
    type: str


class _Place(NamedTuple):
    """A word, for messages."""

    sentence: RawSentence
    word: int

    @property
    def tag(self) -> str:
        return self.sentence.tags[self.word]

    def __str__(self) -> str:
        return self.sentence.place(self.word)


def _known_tags(sentences: Iterable[RawSentence]) -> tuple[dict[str, _Tag], dict[str, _Place]]:
    """Returns the letter and type of every tag, and the first place of each."""
    known: dict[str, _Tag] = {}
    first: dict[str, _Place] = {}
    for sentence in sentences:
        for word, tag in enumerate(sentence.tags):
            if tag not in known:
                first[tag] = _Place(sentence, word)
                known[tag] = _parsed(tag, place=first[tag])
    return known, first


def _parsed(tag: str, *, place: _Place) -> _Tag:
    letter, hyphen, entity_type = tag.partition("-")
    if tag == OUTSIDE or (letter in _IN_IOB2 and bool(hyphen) == bool(entity_type)):
        return _Tag(letter, entity_type)
    shown = repr(tag if len(tag) <= _MAX_SHOWN else f"{tag[:_MAX_SHOWN]}...")
    raise ValueError(
        f"{place}: tag {shown}; a tag is O, or B-, I-, E-, S- (BIOES), L- or U- (BILOU) and a type, such as B-person; "
        f"{_advice(tag)}"
    )


def _advice(tag: str) -> str:
    if tag in ("o", "0"):
        return "write the letter O"
    if "*" in tag or "(" in tag:
        return "convert brackets of CoNLL-2012 to IOB2"
    if len(tag) > 2 and tag[0].upper() in _IN_IOB2 and tag[1] in "-_:/ ":
        return f"write {tag[0].upper()}-{tag[2:].strip():.{_MAX_SHOWN}}"
    return "correct it, or name the column of the tags"


def _check_bare(known: Mapping[str, _Tag], first: Mapping[str, _Place]) -> bool:
    """Returns whether tags have no types; raises where only some have none."""
    inside = {tag: parsed for tag, parsed in known.items() if parsed.letter != OUTSIDE}
    bare = [tag for tag, parsed in inside.items() if not parsed.type]
    typed = [tag for tag, parsed in inside.items() if parsed.type]
    if bare and typed:
        raise ValueError(
            f"{first[bare[0]]}: tag {bare[0]!r} has no type, but {typed[0]!r} has one ({first[typed[0]]}); "
            "give every tag but O a type"
        )
    return bool(bare)


def _recognise(sentences: Sequence[RawSentence], known: Mapping[str, _Tag], first: Mapping[str, _Place]) -> Scheme:
    if all(parsed.letter == OUTSIDE for parsed in known.values()):
        names = ", ".join(dict.fromkeys(sentence.source for sentence in sentences))
        raise ValueError(f"{names:.200}: no word is in an entity, every tag is O; name the column of the tags")
    # In the order of the files, so that the first place of a scheme is named.
    signs = {
        scheme: next((first[tag] for tag, parsed in known.items() if parsed.letter in letters), None)
        for scheme, letters in _ONLY_IN.items()
    }
    bioes, bilou = signs["BIOES"], signs["BILOU"]
    if bioes and bilou:
        raise ValueError(
            f"{bilou}: tag {bilou.tag!r} is of BILOU, but {bioes.tag!r} is of BIOES ({bioes}); "
            "convert all files to one scheme"
        )
    for scheme, sign in signs.items():
        if sign:
            _check_ends(sentences, known, scheme=scheme, sign=sign)
            return scheme
    return _iob(sentences, known)


def _iob(sentences: Iterable[RawSentence], known: Mapping[str, _Tag]) -> Scheme:
    """Returns IOB1 or IOB2, by the letter of words that begin an entity after no entity of its type."""
    begins: dict[str, list[_Place]] = {"I": [], "B": []}
    for place, tag, continues in _steps(sentences, known):
        if tag.letter != OUTSIDE and not continues:
            begins[tag.letter].append(place)
    if not begins["B"]:
        return "IOB1"
    if not begins["I"]:
        return "IOB2"
    names = {"I": "IOB1", "B": "IOB2"}
    few, many = sorted(begins, key=lambda letter: len(begins[letter]))
    rare, usual = begins[few][0], begins[many][0]
    raise ValueError(
        f"{rare}: {rare.tag} begins an entity, as in {names[few]} ({_times(begins[few])}), but {usual.tag} does as in "
        f"{names[many]} ({_times(begins[many])}, first in {usual}); convert all files to one scheme"
    )


def _times(places: Sequence[_Place]) -> str:
    return "once" if len(places) == 1 else f"{len(places):,} times"


def _check_ends(sentences: Iterable[RawSentence], known: Mapping[str, _Tag], *, scheme: Scheme, sign: _Place) -> None:
    """Raises where an entity of several words has no last one, or a word continues no entity."""
    outside = _Tag(OUTSIDE, "")
    for sentence in sentences:
        before = outside
        for word, text in enumerate((*sentence.tags, OUTSIDE)):
            tag = known.get(text, outside)
            is_open, goes_on = before.letter in ("B", "I"), tag.letter in ("I", "E", "L")
            if is_open and not (goes_on and tag.type == before.type):
                raise ValueError(_bad_end(_Place(sentence, word - 1), "is not continued", scheme=scheme, sign=sign))
            if goes_on and not is_open:
                raise ValueError(_bad_end(_Place(sentence, word), "continues no entity", scheme=scheme, sign=sign))
            before = tag


def _bad_end(place: _Place, what: str, *, scheme: Scheme, sign: _Place) -> str:
    last, alone = tuple(_ONLY_IN[scheme])
    return (
        f"{place}: {place.tag} {what}; the tags are {scheme}, since {sign.tag} is one ({sign}), so {last}- ends an "
        f"entity and {alone}- is one word alone: correct the tag, or convert all files to one scheme"
    )


def _steps(sentences: Iterable[RawSentence], known: Mapping[str, _Tag]) -> Iterator[tuple[_Place, _Tag, bool]]:
    """Yields every word with its tag, and whether the word before is in an entity of the same type."""
    for sentence in sentences:
        before = _Tag(OUTSIDE, "")
        for word, text in enumerate(sentence.tags):
            tag = known[text]
            yield _Place(sentence, word), tag, before.letter != OUTSIDE and before.type == tag.type
            before = tag


def _convert(sentences: Sequence[RawSentence], known: Mapping[str, _Tag], *, scheme: Scheme) -> Iterator[Sentence]:
    written = {
        tag: {letter: f"{letter}-{parsed.type or BARE_TYPE}" for letter in "BI"} for tag, parsed in known.items()
    }
    for sentence in sentences:
        tags: list[str] = []
        before = _Tag(OUTSIDE, "")
        for text in sentence.tags:
            tag = known[text]
            begins = before.letter == OUTSIDE or before.type != tag.type
            letter = "B" if scheme == "IOB1" and begins else _IN_IOB2.get(tag.letter, OUTSIDE)
            tags.append(OUTSIDE if tag.letter == OUTSIDE else written[text][letter])
            before = tag
        yield Sentence(sentence.words, tuple(tags))
