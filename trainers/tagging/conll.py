"""Reads CoNLL-style files: a word a line with its tag in a column, and an empty line after each sentence.

Columns are separated by tabs where a line has one, else by spaces. So words of files with tabs may contain spaces. A
line of white space alone ends a sentence, `-DOCSTART-` begins a document, and a line with `#` is a comment unless it
has the file's columns and a tag. Files are UTF-8, with or without a byte-order mark, with line ends of Unix or Windows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from depthweave.spaces.regular import NotRegularError, open_regular
from depthweave.trainers.tagging.raw_sentence import RawSentence, check_size

MAX_BYTES = 2**28
"""Largest file that is read."""

_DOCUMENT_START = "-DOCSTART-"
_COMMENT = re.compile(r"#(?:$|[ \t]|begin\b|end\b)")
"""`#` alone, before a space, and CoNLL-2012's `#begin document`. A hashtag is a word."""
_TAG = re.compile(r"O$|[BIESLU](?:-.|$)")
_MAX_SHOWN = 60


def read_conll(path: str | Path, *, column: int = -1, word_column: int = 0) -> list[RawSentence]:
    """Returns the sentences of a file with their tags as written.

    `column` is the place of the tag, `word_column` that of the word, counted from 0; negative ones count from the last.
    Raises a one-line `ValueError` that names the file and the line.
    """
    source = str(path)
    text = _read_text(Path(path))
    found: list[RawSentence] = []
    num_words = 0
    for rows in _sentences(text, source=source, column=column, word_column=word_column):
        words = tuple(row.word for row in rows)
        found.append(RawSentence(words, tuple(row.tag for row in rows), source, _numbers(rows)))
        num_words += len(words)
        check_size(num_words, source=source)
    if not found:
        raise ValueError(f"{source}: holds no word; give a file with a word and its tag a line")
    return found


class _Row(NamedTuple):
    word: str
    tag: str
    line: int


class _Layout(NamedTuple):
    """What the first word's line says about all others."""

    line: int
    num_columns: int


def _sentences(text: str, *, source: str, column: int, word_column: int) -> Iterator[list[_Row]]:
    layout: _Layout | None = None
    rows: list[_Row] = []
    # Not `splitlines`: words may contain further characters that it takes for ends of lines.
    for number, line in enumerate(text.split("\n"), start=1):
        cells = _cells(line)
        if not cells or cells[0] == _DOCUMENT_START:
            if rows:
                yield rows
                rows = []
            continue
        if _is_comment(line, cells, column=column, layout=layout):
            continue
        if layout is None:
            layout = _Layout(number, len(cells))
            _check_columns(layout, line, source=source, column=column, word_column=word_column)
        if len(cells) != layout.num_columns:
            raise ValueError(_ragged(line, cells, place=f"{source}, line {number}", layout=layout))
        row = _Row(cells[word_column], cells[column], number)
        if not row.tag:
            raise ValueError(f"{source}, line {number}: {_shown(row.word)} has no tag; write O where it is no entity")
        rows.append(row)
    if rows:
        yield rows


def _cells(line: str) -> list[str]:
    """Returns the columns of a line, none for an empty one."""
    if not line.strip():
        return []
    line = line.rstrip(" \t\r")
    if "\t" in line:
        return [cell.strip(" ") for cell in line.split("\t")]
    return [cell for cell in line.split(" ") if cell]


def _is_comment(line: str, cells: Sequence[str], *, column: int, layout: _Layout | None) -> bool:
    if not _COMMENT.match(line):
        return False
    fits = len(cells) == layout.num_columns if layout else len(cells) > 1
    if fits and layout and "\t" in line:
        # A comment with just these tabs is less likely than a word with a misspelt tag.
        return False
    return not (fits and -len(cells) <= column < len(cells) and _TAG.match(cells[column]))


def _check_columns(layout: _Layout, line: str, *, source: str, column: int, word_column: int) -> None:
    where, num = f"{source}, line {layout.line}", layout.num_columns
    if num == 1:
        raise ValueError(f"{where}: has one column ({_shown(line)}); separate a word and its tag by a tab or by spaces")
    for name, place in (("column", column), ("word_column", word_column)):
        if not -num <= place < num:
            raise ValueError(f"{where}: has {num} columns, and {name} is {place}; it can be {-num} to {num - 1}")
    if column % num == word_column % num:
        raise ValueError(f"{where}: column {column} is that of the words; of {num} columns give that of the tags")


def _ragged(line: str, cells: Sequence[str], *, place: str, layout: _Layout) -> str:
    are = "is 1 column" if len(cells) == 1 else f"are {len(cells)} columns"
    return (
        f"{place}: there {are} ({_shown(line)}), but {layout.num_columns} in line {layout.line}; "
        "give every word the same columns, and separate them by tabs where words contain spaces"
    )


def _numbers(rows: Sequence[_Row]) -> Sequence[int]:
    first, last = rows[0].line, rows[-1].line
    # A comment may be between two words.
    return range(first, last + 1) if last - first + 1 == len(rows) else tuple(row.line for row in rows)


def _read_text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; give a file with a word and its tag a line") from None
    except NotRegularError as error:
        raise ValueError(str(error)) from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: has more than {MAX_BYTES:,} bytes, the most that are read; give a part of it")
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        what = "UTF-16" if is_wide else f"not UTF-8 (line {line})"
        raise ValueError(f"{path}: is {what}; convert it to UTF-8, for example with iconv") from None
    if "\0" in text:
        raise ValueError(f"{path}: is not text (it holds a zero byte); give a file with a word and its tag a line")
    return text


def _shown(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
