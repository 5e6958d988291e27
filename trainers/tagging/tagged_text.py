"""Makes a tagged text of its parts: one scheme, checks, notes and a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from depthweave.trainers.tagging.conll import read_conll
from depthweave.trainers.tagging.raw_sentence import RawSentence
from depthweave.trainers.tagging.sentences import OUTSIDE, Sentence, TaggedText
from depthweave.trainers.tagging.tag_schemes import normalise

_VALID_SHARE = 10
"""Without a validation part one in so many training sentences validates."""
_TITLES: Mapping[str, str] = {"train": "training", "valid": "validation", "test": "test"}


def load_conll(
    train: str | Path,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    *,
    name: str | None = None,
    column: int = -1,
    word_column: int = 0,
) -> TaggedText:
    """Reads a text from CoNLL-style files, one a part; see `read_conll` for the columns.

    The default name is that of the training file. Raises a one-line `ValueError` where a file cannot be read.
    """
    train_part, valid_part, test_part = (
        [] if path is None else read_conll(path, column=column, word_column=word_column)
        for path in (train, valid, test)
    )
    return make_tagged_text(
        Path(train).name if name is None else name, train=train_part, valid=valid_part, test=test_part
    )


def make_tagged_text(
    name: str,
    *,
    train: Sequence[RawSentence],
    valid: Sequence[RawSentence] = (),
    test: Sequence[RawSentence] = (),
    notes: Iterable[str] = (),
) -> TaggedText:
    """Returns the sentences in IOB2, with notes about them.

    Without a validation part a tenth of the training sentences validates, chosen by a hash of their words; copies of a
    sentence stay together. `notes` come first. Raises a one-line `ValueError` for tags of no scheme and for a part
    without an entity.
    """
    if not train:
        raise ValueError(f"{name}: the training part has no sentence; give a file or split that has some")
    found = normalise({"train": train, "valid": valid, "test": test})
    parts = dict(found.parts)
    division = []
    if not valid:
        parts["train"], parts["valid"] = _divided(parts["train"], name=name)
        division.append(
            f"there is no validation part: {len(parts['valid']):,} of {len(train):,} training sentences validate, "
            "chosen by a hash of their words"
        )
    types = {part: _types(sentences) for part, sentences in parts.items()}
    _check_entities(name, parts, types)
    return TaggedText(
        name=name,
        train=parts["train"],
        valid=parts["valid"],
        test=parts["test"],
        entity_types=tuple(sorted(set().union(*types.values()))),
        scheme=found.scheme,
        sha256=_sha256(parts),
        notes=(*notes, *found.notes, *division, *_type_notes(types), *_content_notes(parts)),
    )


def _divided(sentences: Sequence[Sentence], *, name: str) -> tuple[tuple[Sentence, ...], tuple[Sentence, ...]]:
    """Returns the sentences that train and those that validate, both in their order."""
    digests = [_digest(sentence.words) for sentence in sentences]
    chosen: set[bytes] = set()
    num_chosen = 0
    for digest, copies in groupby(sorted(digests)):
        if num_chosen * _VALID_SHARE >= len(sentences):
            break
        chosen.add(digest)
        num_chosen += len(list(copies))
    if num_chosen == len(sentences):
        raise ValueError(f"{name}: one sentence cannot both train and validate; give more, or a validation part")
    keyed = list(zip(digests, sentences, strict=True))
    return (
        tuple(sentence for digest, sentence in keyed if digest not in chosen),
        tuple(sentence for digest, sentence in keyed if digest in chosen),
    )


def _types(sentences: Sequence[Sentence]) -> frozenset[str]:
    tags = {tag for sentence in sentences for tag in sentence.tags}
    return frozenset(tag.partition("-")[2] for tag in tags if tag != OUTSIDE)


def _check_entities(name: str, parts: Mapping[str, Sequence[Sentence]], types: Mapping[str, frozenset[str]]) -> None:
    what = {
        "train": "give sentences to learn from",
        "valid": "F1 needs some; give a validation part with entities",
        "test": "are its tags withheld? leave it out",
    }
    for part, advice in what.items():
        if parts[part] and not types[part]:
            raise ValueError(f"{name}: no word of the {_TITLES[part]} part is in an entity; {advice}")


def _type_notes(types: Mapping[str, frozenset[str]]) -> list[str]:
    notes = []
    for entity_type in sorted((types["valid"] | types["test"]) - types["train"]):
        where = " and the ".join(f"{_TITLES[part]} part" for part in ("valid", "test") if entity_type in types[part])
        notes.append(f"type {entity_type} is only in the {where}: it is never learnt, and its entities count as missed")
    by_letters: dict[str, list[str]] = {}
    for entity_type in sorted(set().union(*types.values())):
        by_letters.setdefault(entity_type.casefold(), []).append(entity_type)
    notes += [f"types {' and '.join(same)} differ only in case" for same in by_letters.values() if len(same) > 1]
    return notes


def _content_notes(parts: Mapping[str, Sequence[Sentence]]) -> list[str]:
    notes = []
    blank = sum(not word.strip() for part in parts.values() for sentence in part for word in sentence.words)
    if blank:
        notes.append(f"{blank:,} {'word is' if blank == 1 else 'words are'} empty or white space, and kept")
    if not parts["test"]:
        notes.append("there is no test part")
    seen = {sentence.words for sentence in parts["train"]}
    for part in ("valid", "test"):
        copies = sum(sentence.words in seen for sentence in parts[part])
        if copies:
            are = "is" if copies == 1 else "are"
            notes.append(
                f"{copies:,} of {len(parts[part]):,} {_TITLES[part]} sentences {are} also in the training part"
            )
    return notes


def _sha256(parts: Mapping[str, Sequence[Sentence]]) -> str:
    whole = hashlib.sha256()
    for part in ("train", "valid", "test"):
        whole.update(part.encode() + b"".join(_digest((s.words, s.tags)) for s in parts[part]))
    return whole.hexdigest()


def _digest(content: object) -> bytes:
    # JSON, because words may contain any separator.
    return hashlib.sha256(json.dumps(content).encode()).digest()
