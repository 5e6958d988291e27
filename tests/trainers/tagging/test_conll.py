"""CoNLL-style files: columns, comments, documents, encodings, and one line for what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthweave.trainers.tagging import conll
from depthweave.trainers.tagging.conll import read_conll
from tests.trainers.tagging.property_tests import unhurried

_CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP I-ORG
rejects VBZ B-VP O
German JJ B-NP I-MISC

-DOCSTART- -X- -X- O
Peter NNP B-NP I-PER
"""


def _file(folder: Path, content: str | bytes) -> Path:
    path = folder / "some.conll"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _read(folder: Path, content: str | bytes, **columns: int) -> list[list[tuple[str, str]]]:
    found = read_conll(_file(folder, content), **columns)
    return [list(zip(sentence.words, sentence.tags, strict=True)) for sentence in found]


def _error(folder: Path, content: str | bytes, **columns: int) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        read_conll(_file(folder, content), **columns)
    message = str(caught.value)
    assert message.startswith(str(folder / "some.conll"))
    return message.removeprefix(str(folder / "some.conll"))


def test_read_conll_reads_the_columns_and_documents_of_conll_2003(tmp_path: Path) -> None:
    assert _read(tmp_path, _CONLL_2003) == [
        [("EU", "I-ORG"), ("rejects", "O"), ("German", "I-MISC")],
        [("Peter", "I-PER")],
    ]
    assert _read(tmp_path, _CONLL_2003, column=2)[1] == [("Peter", "B-NP")]
    assert _read(tmp_path, _CONLL_2003, column=-3)[1] == [("Peter", "NNP")]


def test_read_conll_knows_the_line_of_every_word(tmp_path: Path) -> None:
    found = read_conll(_file(tmp_path, "a\tO\n# a comment\nb\tO\n\nc\tO\nd\tO"))
    assert [[sentence.place(word) for word in range(2)] for sentence in found] == [
        [f"{tmp_path / 'some.conll'}, line {line}" for line in lines] for lines in ((1, 3), (5, 6))
    ]


def test_read_conll_takes_byte_order_marks_line_ends_of_windows_and_lines_of_white_space(tmp_path: Path) -> None:
    plain = "a\tO\nb\tB-x\n\nc\tO\n"
    expected = [[("a", "O"), ("b", "B-x")], [("c", "O")]]
    assert _read(tmp_path, plain) == expected
    assert _read(tmp_path, b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode()) == expected
    for line in ("\t", " ", " \t ", "\xa0", "\t\r"):
        assert _read(tmp_path, plain.replace("\n\n", f"\n{line}\n{line}\n")) == expected


def test_read_conll_keeps_spaces_of_words_only_where_tabs_separate(tmp_path: Path) -> None:
    assert _read(tmp_path, "New York\tB-x\n one \tO \n") == [[("New York", "B-x"), ("one", "O")]]
    assert _read(tmp_path, " one   O \n two\tO\n") == [[("one", "O"), ("two", "O")]]


@pytest.mark.parametrize("word", ["\u2028", "a\x85b", "a\x0cb", "x\xa0y", "\u200b", "DubbZ\ufeff", "\x1c"])
def test_read_conll_leaves_odd_characters_in_their_word(tmp_path: Path, word: str) -> None:
    assert _read(tmp_path, f"a\tO\n{word}\tB-x\nb\tO\n") == [[("a", "O"), (word, "B-x"), ("b", "O")]]


def test_read_conll_keeps_an_empty_word_that_has_a_tag(tmp_path: Path) -> None:
    assert _read(tmp_path, "a\tO\n\tB-x\n") == [[("a", "O"), ("", "B-x")]]


def test_read_conll_leaves_comments_out_and_keeps_hashes_that_are_words(tmp_path: Path) -> None:
    comments = "# text = a b\n#begin document (x)\n#\thttp://a.b/c [2009]\n"
    assert _read(tmp_path, f"{comments}1\t#\tO\tO\n2\t#tag\tB-x\tO\n#\n", word_column=1, column=2) == [
        [("#", "O"), ("#tag", "B-x")]
    ]
    assert _read(tmp_path, "#\tO\n#tag\tO\n# a\n# O\n#end document\n") == [[("#", "O"), ("#tag", "O"), ("#", "O")]]
    # Four columns, as a word has.
    assert _read(tmp_path, "a NN B-NP O\n# text = a\n# # B-NP O\n") == [[("a", "O"), ("#", "O")]]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a\tO\nb\n", ", line 2: there is 1 column ('b'), but 2 in line 1; give every word the same columns"),
        ("a\tO\n\nb c\tO\tO\n", ", line 3: there are 3 columns"),
        ("# first\na b O\nNew York b O\n", ", line 3: there are 4 columns ('New York b O'), but 3 in line 2"),
        ("#lost\n", ", line 1: has one column ('#lost')"),
        ("a\tO\n#lost\n", ", line 2: there is 1 column ('#lost')"),
        ("word\n", ", line 1: has one column ('word'); separate a word and its tag by a tab or by spaces"),
        ("a\t\tx\n", ", line 1: 'a' has no tag; write O"),
        ("", ": holds no word"),
        ("\r\n\t\n", ": holds no word"),
        ("-DOCSTART- -X- O O\n\n-DOCSTART- -X- O O\n", ": holds no word"),
        ("# only a comment\n", ": holds no word"),
        (b"a\tO\ncaf\xe9\tO\n", ": is not UTF-8 (line 2); convert it to UTF-8"),
        ("a\tO\n".encode("utf-16"), ": is UTF-16; convert it"),
        (b"\x89PNG\r\n\x1a\n", ": is not UTF-8 (line 1)"),
        ("a\0\tO\n", ": is not text (it holds a zero byte)"),
    ],
)
def test_read_conll_says_in_one_line_what_is_wrong_and_where(tmp_path: Path, content: str | bytes, fault: str) -> None:
    columns = {"column": 1} if "\t\t" in str(content) else {}
    assert fault in _error(tmp_path, content, **columns)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"column": 4}, ", line 3: has 4 columns, and column is 4; it can be -4 to 3"),
        ({"word_column": -5}, ", line 3: has 4 columns, and word_column is -5; it can be -4 to 3"),
        ({"column": -4}, ", line 3: column -4 is that of the words"),
    ],
)
def test_read_conll_names_a_column_that_is_not_there(tmp_path: Path, columns: dict[str, int], fault: str) -> None:
    assert fault in _error(tmp_path, _CONLL_2003, **columns)


def test_read_conll_reads_regular_files_of_bounded_size_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, fault in ((tmp_path, "is a folder"), (tmp_path / "pipe", "is a pipe"), (tmp_path / "no", "no such file")):
        with pytest.raises(ValueError, match=rf"^{path}: {fault}[^\n]*$"):
            read_conll(path)
    monkeypatch.setattr(conll, "MAX_BYTES", 7)
    assert _read(tmp_path, "a\tO\nb\tO") == [[("a", "O"), ("b", "O")]]
    assert _error(tmp_path, "a\tO\nb\tO\n").startswith(": has more than 7 bytes")


def test_read_conll_reads_a_bounded_number_of_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthweave.trainers.tagging.raw_sentence.MAX_WORDS", 2)
    assert _error(tmp_path, "a\tO\nb\tO\n\nc\tO\n").startswith(": has more than 2 words")


_WORD = st.text(st.characters(exclude_characters="\t\n\r\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda word: word == word.strip(" ") and word != "-DOCSTART-" and not word.startswith("\ufeff")
)
_TAGGED = st.lists(st.tuples(_WORD, st.sampled_from(["O", "B-x", "I-y z", "S-a-b"])), min_size=1, max_size=5)


@unhurried
@given(st.lists(_TAGGED, min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_read_conll_returns_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]], end: str
) -> None:
    text = (end * 2).join(end.join(f"{word}\t{tag}" for word, tag in sentence) for sentence in sentences)
    assert _read(tmp_path_factory.getbasetemp(), text) == sentences
