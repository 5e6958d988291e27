"""Divides documents into a training, a validation and a test part.

There are two rules.
`text`: the parts have the wanted shares of the text, in bytes of UTF-8. The hash of a document chooses its part, so
that added, renamed or reordered documents move no other one. Where that misses the shares, documents fill the parts in
the order of their hashes. A document that is too long for a part is cut at ends of lines.
`documents`: the shares are of documents, and there is no test part. Runs of earlier versions used it.

Copies of a document are always in the same part. Documents are kept in the order of their hashes, so that the same
documents make the same corpus wherever they are stored.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal, NamedTuple

Division = Literal["text", "documents"]
"""A rule for dividing text."""
Part = Literal["train", "validation", "test"]

_HASH_FACTOR, _FILL_FACTOR = 1.5, 2.0
"""Largest factor between a part and its wanted share, where hashes choose and where documents fill the parts."""
_MAX_STRETCHES = 8
"""Number of validation stretches of a long document, whose subject may change from its beginning to its end."""
_MIN_STRETCH_BYTES = 4096


class Shares(NamedTuple):
    """Shares of the text, as fractions or in bytes."""

    train: float
    validation: float
    test: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Documents in three parts. `sha256` identifies the documents and the part of each."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    """Only confirmations and exports read it; empty under the rule `documents` and where none is wanted."""
    sha256: str
    notes: tuple[str, ...] = ()
    """What a user should know about the reading and the division, one sentence each."""

    @property
    def num_bytes(self) -> tuple[int, int, int]:
        """Returns the bytes of text of the parts: training, validation, test."""
        train, validation, test = (sum(map(_size, part)) for part in (self.train, self.validation, self.test))
        return train, validation, test


def split_documents(documents: Iterable[str], *, name: str, validation_frac: float) -> Corpus:
    """Divides by the rule `documents`: a document validates where its hash, as a fraction, is below `validation_frac`.

    Empty documents are dropped. The smallest hash always validates and the largest always trains. Only in a corpus so
    small that this decides can an added document move another one.
    """
    keyed = sorted((hashlib.sha256(text.encode("utf-8")).digest(), text) for text in documents if text)
    if not keyed:
        raise ValueError(f"corpus {name} is empty; give documents that hold text")
    smallest, largest = keyed[0][0], keyed[-1][0]
    if smallest == largest:
        raise ValueError(
            f"corpus {name} has one document, which cannot both train and validate; give more documents, "
            "or for files a corpus.separator between documents"
        )
    parts: dict[bool, list[tuple[bytes, str]]] = {True: [], False: []}
    for digest, text in keyed:
        below = _as_fraction(digest) < validation_frac
        parts[digest == smallest or (below and digest != largest)].append((digest, text))
    whole = hashlib.sha256()
    for validates, label in ((False, b"train"), (True, b"validation")):
        whole.update(label + b"".join(digest for digest, _ in parts[validates]))
    train, validation = (tuple(text for _, text in parts[validates]) for validates in (False, True))
    return Corpus(name=name, train=train, validation=validation, sha256=whole.hexdigest())


class _Document(NamedTuple):
    digest: bytes
    text: str
    copies: int
    num_bytes: int
    """Size of all copies together."""


def split_text(documents: Iterable[str], *, name: str, validation_frac: float, test_frac: float) -> Corpus:
    """Divides by the rule `text`. Empty documents are dropped, and a `test_frac` of 0 makes no test part.

    Raises a one-line `ValueError` where there is no text, or too little for a training and a validation part.
    """
    found = _documents(documents)
    if not found:
        raise ValueError(f"corpus {name} is empty; give documents that hold text")
    total = sum(item.num_bytes for item in found)
    wanted = Shares(*(frac * total for frac in (1 - validation_frac - test_frac, validation_frac, test_frac)))
    places, cut = _placed(found, wanted=wanted)
    parts: dict[Part, list[str]] = {"train": [], "validation": [], "test": []}
    for item in found:
        if item.digest in cut:
            pieces = _stretches(item.text, shares=Shares(*(share / total for share in wanted)))
            for part, piece in pieces * item.copies:
                parts[part].append(piece)
        else:
            parts[places[item.digest]] += [item.text] * item.copies
    if len(found) > 1 and not (parts["train"] and parts["validation"]):
        # A few words in total are too short to be cut.
        first, *others = ([item.text] * item.copies for item in found)
        parts = {"train": [text for some in others for text in some], "validation": first, "test": []}
    if not parts["train"] or not parts["validation"]:
        raise ValueError(
            f"corpus {name} has {total} bytes of text, too few to train and to validate on: give more text, "
            "or for files a corpus.separator between documents"
        )
    whole = hashlib.sha256()
    for label, texts in parts.items():
        whole.update(label.encode() + b"".join(hashlib.sha256(text.encode()).digest() for text in texts))
    return Corpus(
        name=name,
        train=tuple(parts["train"]),
        validation=tuple(parts["validation"]),
        test=tuple(parts["test"]),
        sha256=whole.hexdigest(),
        notes=(_cut_note(len(cut), of=len(found)),) if cut else (),
    )


def lopsided_note(corpus: Corpus, *, validation_frac: float) -> str:
    """Returns advice on a validation part that is far from its share of the text; empty where it is near."""
    sizes = corpus.num_bytes
    share = sizes[1] / sum(sizes)
    if validation_frac / 3 <= share <= 3 * validation_frac and share <= 0.5:
        return ""
    return (
        f"the validation part is {100 * share:.3g} % of the text where {100 * validation_frac:.3g} % were asked for, "
        "because documents are of unequal size: corpus.division text divides by text, and for files a "
        "corpus.separator gives more documents"
    )


def _documents(documents: Iterable[str]) -> list[_Document]:
    """Returns each text once, in the order of their hashes."""
    copies = Counter(text for text in documents if text)
    encoded = ((text.encode("utf-8"), text, number) for text, number in copies.items())
    return sorted(
        _Document(hashlib.sha256(data).digest(), text, number, len(data) * number) for data, text, number in encoded
    )


def _placed(found: Sequence[_Document], *, wanted: Shares) -> tuple[dict[bytes, Part], Set[bytes]]:
    """Returns the part of every document that stays whole, and the digests of those to cut."""
    places = _by_hash(found, wanted=wanted)
    if _is_fair(_sums(found, places), wanted=wanted, factor=_HASH_FACTOR):
        return places, frozenset()
    smallest = min(share for share in wanted if share > 0)
    by_size = sorted(found, key=lambda item: (-item.num_bytes, item.digest))
    # Documents of this size fit into the training part only.
    num_cut = sum(item.num_bytes > _FILL_FACTOR * smallest for item in by_size)
    while True:
        cut = {item.digest for item in by_size[:num_cut]}
        whole, cut_bytes = [item for item in found if item.digest not in cut], _cut_bytes(found, cut)
        places = _filled(whole, cut_bytes=cut_bytes, wanted=wanted)
        sums = _sums(found, places)
        cut_share = cut_bytes / sum(wanted)
        sums = Shares(*(own + cut_share * share for own, share in zip(sums, wanted, strict=True)))
        if num_cut >= len(found) or _is_fair(sums, wanted=wanted, factor=_FILL_FACTOR):
            return places, cut
        # The largest are cut first, twice as many each time: few documents make the shares fail.
        num_cut = min(len(found), max(1, 2 * num_cut))


def _by_hash(found: Sequence[_Document], *, wanted: Shares) -> dict[bytes, Part]:
    total = sum(wanted)
    # Validation comes first, as under the rule `documents`.
    ends = (wanted.validation / total, (wanted.validation + wanted.test) / total)
    places: dict[bytes, Part] = {}
    for item in found:
        place = _as_fraction(item.digest)
        places[item.digest] = "validation" if place < ends[0] else "test" if place < ends[1] else "train"
    return places


def _filled(found: Sequence[_Document], *, cut_bytes: int, wanted: Shares) -> dict[bytes, Part]:
    """Assigns documents to validation, then to test, while each brings the part closer to its wanted size."""
    places: dict[bytes, Part] = dict.fromkeys((item.digest for item in found), "train")
    parts: tuple[tuple[Part, float], ...] = (("validation", wanted.validation), ("test", wanted.test))
    for part, share in parts:
        missing = share * (1 - cut_bytes / sum(wanted))
        for item in found:
            if missing <= 0:
                break
            if places[item.digest] == "train" and abs(missing - item.num_bytes) <= missing:
                places[item.digest] = part
                missing -= item.num_bytes
    return places


def _cut_bytes(found: Sequence[_Document], cut: Set[bytes]) -> int:
    return sum(item.num_bytes for item in found if item.digest in cut)


def _sums(found: Sequence[_Document], places: Mapping[bytes, Part]) -> Shares:
    sums: Counter[Part] = Counter()
    for item in found:
        if item.digest in places:
            sums[places[item.digest]] += item.num_bytes
    return Shares(sums["train"], sums["validation"], sums["test"])


def _is_fair(sums: Shares, *, wanted: Shares, factor: float) -> bool:
    return all(share / factor <= own <= factor * share for own, share in zip(sums, wanted, strict=True))


def _stretches(text: str, *, shares: Shares) -> list[tuple[Part, str]]:
    """Returns the text in stretches that train, validate and test in turn, at most eight of each."""
    data = text.encode("utf-8")
    smallest = min(share for share in shares if share > 0)
    num = max(1, min(_MAX_STRETCHES, int(len(data) * smallest) // _MIN_STRETCH_BYTES))
    # A longer line is cut inside.
    reach = max(1, int(len(data) / num * smallest / 4))
    ends = [
        _line_end(data, at=round(len(data) * (place + upto) / num), reach=reach)
        for place in range(num)
        for upto in (shares.train, shares.train + shares.validation, 1.0)
    ]
    ends[-1] = len(data)
    parts: itertools.cycle[Part] = itertools.cycle(("train", "validation", "test"))
    bounds = itertools.pairwise([0, *itertools.accumulate(ends, max)])
    return [(part, data[start:end].decode("utf-8")) for part, (start, end) in zip(parts, bounds) if start < end]  # noqa: B905


def _line_end(data: bytes, *, at: int, reach: int) -> int:
    """Returns the next place within reach after a line's end, else after a space, else between characters."""
    for ending in (b"\n", b" "):
        if (found := data.find(ending, at, at + reach)) >= 0:
            return found + 1
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


def _cut_note(num: int, *, of: int) -> str:
    are = "1 document is" if num == 1 else f"{num:,} documents are"
    return (
        f"{are} cut, of {of:,}: whole ones would not give the parts their shares of the text; for files a "
        "corpus.separator gives more documents"
    )


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


def _as_fraction(digest: bytes) -> float:
    return int.from_bytes(digest[:6], "big") / 2**48
