"""A sentence as a file has it: tags of any scheme, and where each word is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_WORDS = 20_000_000
"""Most words of a file or split; OntoNotes has under two million."""


@dataclass(frozen=True, slots=True)
class RawSentence:
    """Words with their tags as written, and the place of each word for messages."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    source: str
    """The file, or the dataset with its split and row."""
    lines: Sequence[int] = ()
    """The number of each word's line; empty where the source has no lines."""

    def place(self, word: int) -> str:
        """Returns the place of a word: file and line, or row and word, counted from 1."""
        where = f"line {self.lines[word]}" if self.lines else f"word {word + 1}"
        return f"{self.source}, {where}"


def check_size(num_words: int, *, source: str) -> None:
    """Raises a one-line `ValueError` where a file or split has too many words."""
    if num_words > MAX_WORDS:
        raise ValueError(f"{source}: has more than {MAX_WORDS:,} words, the most that are read; give a part of it")
