"""Division: the rule `documents` as in earlier versions, and the rule `text` by shares of text."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from depthweave.trainers.splitting import Corpus, split_documents, split_text

_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(_TEXT, min_size=30, unique=True), st.lists(_TEXT), st.randoms())
def test_split_documents_added_or_reordered_leaves_each_in_its_part(
    documents: list[str], added: list[str], random: object
) -> None:
    before = split_documents(documents, name="x", validation_frac=0.3)
    after = split_documents([*added, *reversed(documents)], name="x", validation_frac=0.3)
    rule = {text for text in documents if int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) < 0.3 * 2**48}
    if 0 < len(rule) < len(documents):  # Otherwise the smallest or largest hash is taken instead, and may be replaced.
        assert set(before.validation) == rule
        assert rule <= set(after.validation)
        assert set(before.train) <= set(after.train)


@given(st.lists(_TEXT, min_size=2, max_size=20))
def test_split_documents_with_copies_shares_nothing_between_parts(documents: list[str]) -> None:
    if len(set(documents)) == 1:
        return
    corpus = split_documents(documents * 2, name="x", validation_frac=0.3)
    assert not set(corpus.train) & set(corpus.validation)
    assert sorted(corpus.train + corpus.validation) == sorted(documents * 2)
    assert corpus.train
    assert corpus.validation


def test_split_documents_in_any_order_has_the_same_sha256_and_another_split_another() -> None:
    documents = [str(number) for number in range(50)]
    first = split_documents(documents, name="x", validation_frac=0.2)
    assert split_documents(documents[::-1], name="y", validation_frac=0.2).sha256 == first.sha256
    assert split_documents(documents, name="x", validation_frac=0.6).sha256 != first.sha256
    assert split_documents([*documents[:-1], "!"], name="x", validation_frac=0.2).sha256 != first.sha256


def test_split_documents_one_document_names_the_separator() -> None:
    with pytest.raises(ValueError, match=r"one document.*corpus\.separator"):
        split_documents(["only", "", "only"], name="x", validation_frac=0.1)


def _lines(num: int, *, of: str = "") -> str:
    return "".join(f"line {number} of {of}\n" for number in range(num))


def _split(documents: list[str], *, validation_frac: float = 0.05, test_frac: float = 0.025) -> Corpus:
    return split_text(documents, name="x", validation_frac=validation_frac, test_frac=test_frac)


def test_split_documents_of_earlier_versions_is_still_the_same() -> None:
    corpus = split_documents([str(number) for number in range(50)], name="x", validation_frac=0.2)
    assert corpus.sha256 == "2747782fa5eb8379207984c1051323890d475db1d707d14211fe64eb16333927"
    assert corpus.test == ()


def test_split_text_of_many_documents_keeps_the_validation_part_of_the_rule_documents() -> None:
    documents = [_lines(20, of=str(number)) for number in range(2000)]
    corpus, earlier = _split(documents), split_documents(documents, name="x", validation_frac=0.05)
    assert corpus.validation == earlier.validation
    assert sorted(corpus.train + corpus.test) == sorted(earlier.train)
    assert corpus.notes == ()


def test_split_text_added_or_reordered_leaves_each_in_its_part() -> None:
    documents = [_lines(20, of=str(number)) for number in range(2000)]
    before = _split(documents)
    after = _split([*(_lines(20, of=f"more {number}") for number in range(500)), *reversed(documents)])
    for part in ("train", "validation", "test"):
        assert set(getattr(before, part)) <= set(getattr(after, part))


@pytest.mark.parametrize(
    ("sizes", "num_cut"),
    [([100] * 40, 0), ([1000], 1), ([4000, 60], 1), ([30, 12_000, 700], 2), ([3000, *[80] * 50], 1), ([600] * 8, 8)],
)
def test_split_text_of_few_or_unequal_documents_has_its_shares_of_the_text(sizes: list[int], num_cut: int) -> None:
    documents = [_lines(size, of=str(number)) for number, size in enumerate(sizes)]
    corpus = _split(documents)
    whole = sum(corpus.num_bytes)
    assert whole == sum(len(text.encode()) for text in documents)
    assert corpus.num_bytes[1] / whole == pytest.approx(0.05, rel=0.15)
    assert corpus.num_bytes[2] / whole == pytest.approx(0.025, rel=0.15)
    assert [note.split(",")[0].split(" ")[0] for note in corpus.notes] == ([str(num_cut)] if num_cut else [])
    # Documents are cut at ends of lines only.
    assert all(text.endswith("\n") for text in corpus.train + corpus.validation + corpus.test)
    assert _split(documents[::-1]).sha256 == corpus.sha256


def test_split_text_of_one_long_document_validates_in_eight_places() -> None:
    text = _lines(100_000)
    corpus = _split([text])
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (8, 8, 8)
    pieces = zip(corpus.train, corpus.validation, corpus.test, strict=True)
    assert "".join(piece for some in pieces for piece in some) == text


@given(
    st.lists(st.one_of(_TEXT, st.sampled_from(["x" * 900, "ü😀" * 300, "a b\n" * 200])), min_size=1, max_size=20),
    st.sampled_from([(0.05, 0.025), (0.3, 0.0), (0.5, 0.25), (0.9, 0.05)]),
)
def test_split_text_loses_nothing_and_shares_copies(documents: list[str], fracs: tuple[float, float]) -> None:
    assume(len("".join(documents)) >= 40)
    corpus = _split(documents, validation_frac=fracs[0], test_frac=fracs[1])
    twice = _split(documents * 2, validation_frac=fracs[0], test_frac=fracs[1])
    every = [*corpus.train, *corpus.validation, *corpus.test]
    assert sorted("".join(every)) == sorted("".join(documents))
    assert corpus.train
    assert corpus.validation
    assert fracs[1] or not corpus.test
    for part in ("train", "validation", "test"):
        assert set(getattr(twice, part)) == set(getattr(corpus, part))


def test_split_text_another_share_is_another_corpus() -> None:
    documents = [_lines(20, of=str(number)) for number in range(40)]
    assert _split(documents).sha256 != _split(documents, test_frac=0.1).sha256
    assert _split(documents).sha256 != _split([*documents[:-1], "!"]).sha256


def test_split_text_of_too_little_text_is_refused() -> None:
    with pytest.raises(ValueError, match="corpus x has 1 bytes of text, too few to train and to validate on"):
        _split(["a"])
    assert sorted(_split(["a", "b", "c"]).num_bytes) == [0, 1, 2]
    with pytest.raises(ValueError, match="corpus x is empty"):
        _split(["", ""])
