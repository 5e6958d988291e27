"""Sentences as the token numbers of a host, and predictions back to tags of words.

Sentences come as words, so the tokenizer splits each word for itself. The first piece of a word carries its label, the
others and the special tokens none. Lower-casing, special tokens and unknown words are those of the tokenizer's file.

Axes: N tokens of all sentences, S sentences.

Some tokenizers (GPT-2, RoBERTa, Qwen) read a space as the first character of the word after it, and have seen few words
without one inside a sentence. They get every word with a space before it, the first too, as transformers'
`add_prefix_space=True` does. A comparison of a text with its words shows which tokenizers these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from depthweave.trainers.tagging.sentences import OUTSIDE, Sentence
from depthweave.trainers.tokenizer_file import open_foreign_tokenizer, panics_as_errors

NO_LABEL = -100
"""The label of tokens without one; the default of torch's `cross_entropy`."""
NO_WORD = -1

_BATCH_SENTENCES = 1000
"""Sentences of one call of the library, which cannot be interrupted."""
_PROBE = ("a", "of", "the", "one")

IntArray: TypeAlias = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedSentences:
    """Tokens of all sentences one after another."""

    ids: IntArray
    """[N] token numbers, with the special tokens."""
    starts: IntArray
    """[S + 1] where each sentence starts in `ids`, and the end of the last."""
    first_piece: IntArray
    """[N] the word of its sentence whose first piece a token is, from 0; -1 at other pieces and special tokens."""
    labels: IntArray
    """[N] the class of a word's tag at its first piece, else -100."""
    num_words: IntArray
    """[S] words of each sentence, also those that have no token."""
    notes: tuple[str, ...] = ()
    """What a user should know about the encoding, one sentence each."""

    def __len__(self) -> int:
        return len(self.num_words)

    def decode(self, predicted: IntArray, *, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Returns the tag of every word of every sentence, from the predicted class of every token, [N].

        Only first pieces count. Words without a token, and those that were cut off, are outside of entities.
        """
        if predicted.shape != self.ids.shape:
            raise ValueError(f"predictions have shape {predicted.shape}, tokens {self.ids.shape}; give a class a token")
        found = []
        for number, num_words in enumerate(self.num_words):
            part = slice(self.starts[number], self.starts[number + 1])
            words = self.first_piece[part]
            is_first = words != NO_WORD
            tags = [OUTSIDE] * int(num_words)
            for word, label in zip(words[is_first].tolist(), predicted[part][is_first].tolist(), strict=True):
                tags[word] = classes[label]
            found.append(tuple(tags))
        return found


class WordPieces:
    """The tokenizer of a host, for sentences of words."""

    def __init__(self, tokenizer_json: str) -> None:
        """Opens the content of a `tokenizer.json`. Raises a one-line `ValueError` where it cannot be read."""
        self._tokenizer = open_foreign_tokenizer(tokenizer_json)
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        """Number of tokens."""
        self.spaces_lead: bool = self._find_spaces_lead()
        """Whether words are given with a space before them."""
        self.notes: tuple[str, ...] = ()
        """What a user should know about the tokenizer, one sentence each."""
        if self.spaces_lead:
            self.notes = (
                "the tokenizer reads a space as part of the word after it: each word gets one, the first too",
            )

    def encode(self, sentences: Sequence[Sentence], *, classes: Sequence[str], max_tokens: int) -> EncodedSentences:
        """Returns the sentences as tokens, at most `max_tokens` each with the special ones.

        A longer sentence is cut before the first word that does not fit whole; only a first word that is too long is
        cut inside. A note counts the sentences and the words that were cut off. Raises a one-line `ValueError` for a
        tag that is none of the classes, and where a sentence gives no token at all.
        """
        num_special: int = self._tokenizer.num_special_tokens_to_add(False)
        if max_tokens <= num_special:
            raise ValueError(
                f"max_tokens is {max_tokens}; with {num_special} special tokens it must be larger than that"
            )
        label_of = {tag: number for number, tag in enumerate(classes)}
        ids: list[int] = []
        first_piece: list[int] = []
        labels: list[int] = []
        starts = [0]
        cut: list[int] = []
        for sentence, encoding in zip(sentences, self._encodings(sentences), strict=True):
            kept, first, num_cut = _cut(encoding.ids, encoding.word_ids, max_pieces=max_tokens - num_special)
            if not kept:
                raise ValueError(
                    f"sentence {len(starts):,} gives no token ({' '.join(sentence.words)!r:.60}); leave it out"
                )
            if num_cut:
                cut.append(num_cut)
            ids += kept
            first_piece += first
            labels += [NO_LABEL if word == NO_WORD else _label(sentence.tags[word], label_of) for word in first]
            starts.append(len(ids))
        return EncodedSentences(
            ids=np.array(ids, dtype=np.int32),
            starts=np.array(starts, dtype=np.int64),
            first_piece=np.array(first_piece, dtype=np.int32),
            labels=np.array(labels, dtype=np.int32),
            num_words=np.array([len(sentence.words) for sentence in sentences], dtype=np.int32),
            notes=_cut_notes(cut, max_tokens=max_tokens),
        )

    def _encodings(self, sentences: Sequence[Sentence]) -> Iterator[Any]:
        before = " " if self.spaces_lead else ""
        for start in range(0, len(sentences), _BATCH_SENTENCES):
            batch = [[before + word for word in item.words] for item in sentences[start : start + _BATCH_SENTENCES]]
            with panics_as_errors():
                encodings = self._tokenizer.encode_batch(batch, is_pretokenized=True)
            yield from encodings

    def _find_spaces_lead(self) -> bool:
        """Whether words with a space before them give the tokens of a text, and words alone do not."""

        def pieces(words: str | list[str]) -> list[int]:
            found: list[int] = self._tokenizer.encode(
                words, is_pretokenized=isinstance(words, list), add_special_tokens=False
            ).ids
            return found

        text = " ".join(_PROBE)
        with panics_as_errors():
            if pieces(list(_PROBE)) == pieces(text):
                return False
            return pieces([f" {word}" for word in _PROBE]) == pieces(f" {text}")


def _cut(ids: list[int], words: list[int | None], *, max_pieces: int) -> tuple[list[int], list[int], int]:
    """Returns the tokens that are kept, the word of each first piece among them, and the number of words cut off."""
    pieces = [word for word in words if word is not None]
    if len(pieces) <= max_pieces:
        kept: Sequence[int] = range(len(ids))
        num_cut = 0
    else:
        # A word of which a piece does not fit is cut whole, unless it is the first.
        end = pieces[max_pieces]
        last = end if end != pieces[0] else end + 1
        num_cut = len({word for word in pieces if word >= last})
        fits = iter(range(max_pieces))
        kept = [
            place for place, word in enumerate(words) if word is None or (word < last and next(fits, None) is not None)
        ]
    first: list[int] = []
    seen = NO_WORD
    for place in kept:
        word = words[place]
        is_first = word is not None and word != seen
        first.append(word if is_first and word is not None else NO_WORD)
        seen = word if word is not None else seen
    return [ids[place] for place in kept], first, num_cut


def _label(tag: str, label_of: dict[str, int]) -> int:
    if tag not in label_of:
        known = ", ".join(label_of)
        raise ValueError(f"tag {tag!r:.60} is none of the classes ({known:.200}); give those of the whole text")
    return label_of[tag]


def _cut_notes(cut: Sequence[int], *, max_tokens: int) -> tuple[str, ...]:
    if not cut:
        return ()
    are = "1 sentence has" if len(cut) == 1 else f"{len(cut):,} sentences have"
    last = "1 word is" if sum(cut) == 1 else f"{sum(cut):,} words are"
    return (f"{are} more than {max_tokens} tokens: the last {last} cut off and count as outside of entities",)
