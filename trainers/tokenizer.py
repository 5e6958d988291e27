"""Text to token numbers and back: bytes, or byte-level byte-pair encoding (BPE).

Bytes: the vocabulary is 256. A token is a byte of UTF-8, and 255, which never occurs in UTF-8, ends a document.
BPE: the first token ends a document, the next 256 are the bytes, and the rest are merges learnt from the training part.
With both, `decode(encode(text)) == text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from depthweave.trainers.bpe_learning import END_OF_DOCUMENT, MAX_LEARNT_CHARACTERS, learn_bpe
from depthweave.trainers.tokenizer_file import open_tokenizer

__all__ = [
    "END_OF_DOCUMENT",
    "PADDING",
    "BpeTokenizer",
    "ByteTokenizer",
    "Tokenizer",
    "TokenizerSpec",
    "make_tokenizer",
    "train_tokenizer",
]

PADDING = "<|padding|>"
"""Pads the sequences of a batch. In the `tokenizer.json` of an export it replaces a byte that no text has."""

_BYTES_END = 255
_MIN_BPE_VOCABULARY = 257
"""The 256 bytes and the end of a document."""
_MAX_BPE_VOCABULARY = 2**24
_MAX_DIGITS = 9
_MAX_SHOWN = 60
_PIECE_CHARACTERS, _BATCH_CHARACTERS = 2**16, 2**20
"""Characters of a long document that one thread encodes at once, and of one call, which cannot be interrupted."""
_CUT = re.compile(r"(?<=\S)\n(?=\S)")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerSpec:
    """Which tokenizer: `bytes`, or `bpe` with the size of its vocabulary. Written `bytes` or `bpe:4096`."""

    kind: Literal["bytes", "bpe"] = "bytes"
    """Bytes need no training and no file. BPE makes sequences three to four times shorter."""
    vocabulary: int = 256
    """Wanted number of tokens; the tokenizer of a small corpus may have fewer."""

    def __post_init__(self) -> None:
        if self.kind not in ("bytes", "bpe"):
            raise ValueError(f"tokenizer is {self.kind!r}; it can be bytes or bpe:SIZE, such as bpe:4096")
        if self.kind == "bytes" and self.vocabulary != 256:
            raise ValueError(f"tokenizer bytes has 256 tokens, not {self.vocabulary}; leave the size out")
        if self.kind == "bpe" and not _MIN_BPE_VOCABULARY <= self.vocabulary <= _MAX_BPE_VOCABULARY:
            raise ValueError(
                f"tokenizer bpe:{self.vocabulary}: it needs at least {_MIN_BPE_VOCABULARY} tokens and at most "
                f"{_MAX_BPE_VOCABULARY}"
            )

    @classmethod
    def parse(cls, text: str) -> TokenizerSpec:
        """Returns the spec that is written as `bytes` or `bpe:SIZE`."""
        kind, _, size = text.partition(":")
        if kind == "bytes" and not size:
            return cls()
        if kind == "bpe" and size.isascii() and size.isdigit() and len(size) <= _MAX_DIGITS:
            return cls(kind="bpe", vocabulary=int(size))
        raise ValueError(f"tokenizer is {text[:_MAX_SHOWN]!r}; it can be bytes or bpe:SIZE, such as bpe:4096")

    @property
    def name(self) -> str:
        """`bytes`, or `bpe:` and the wanted size."""
        return self.kind if self.kind == "bytes" else f"{self.kind}:{self.vocabulary}"


class Tokenizer(Protocol):
    """The interface of every tokenizer."""

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""

    @property
    def end_of_document(self) -> int:
        """The token that ends a document."""

    @property
    def json(self) -> str | None:
        """The content of a `tokenizer.json`, or None for bytes, which need none."""

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a text, without an end of document."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of the tokens, without ends of documents; incomplete characters become U+FFFD."""

    def encode_documents(self, documents: Sequence[str]) -> np.ndarray[Any, np.dtype[Any]]:
        """Returns all documents one after another, each followed by its end, as uint16 or uint32."""

    def token_bytes(self) -> np.ndarray[Any, np.dtype[np.uint16]]:
        """Returns the number of bytes of text of each token, [V]; 0 for the end of a document."""


class ByteTokenizer:
    """A token is a byte."""

    vocabulary: int = 256
    end_of_document: int = _BYTES_END
    json: str | None = None

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8"))

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token != _BYTES_END).decode("utf-8", errors="replace")

    def encode_documents(self, documents: Sequence[str]) -> np.ndarray[Any, np.dtype[Any]]:
        end = bytes([_BYTES_END])
        joined = b"".join(part for text in documents for part in (text.encode("utf-8"), end))
        return np.frombuffer(joined, dtype=np.uint8).astype(np.uint16) if joined else np.zeros(0, dtype=np.uint16)

    def token_bytes(self) -> np.ndarray[Any, np.dtype[np.uint16]]:
        sizes = np.ones(256, dtype=np.uint16)
        sizes[_BYTES_END] = 0
        return sizes


class BpeTokenizer:
    """Byte-level BPE, kept as the content of a `tokenizer.json` of the tokenizers library."""

    def __init__(self, json: str) -> None:
        self._tokenizer = open_tokenizer(json)
        # Text that spells the end of a document is encoded as characters, not as that token.
        self._tokenizer.encode_special_tokens = True
        end = self._tokenizer.token_to_id(END_OF_DOCUMENT)
        if end is None:
            raise ValueError(f"tokenizer.json has no token {END_OF_DOCUMENT}; use one that depthweave wrote")
        self.json: str | None = json
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        self.end_of_document: int = end
        self._silent = {end, self._tokenizer.token_to_id(PADDING)}

    @classmethod
    def train(cls, documents: Sequence[str], *, vocabulary: int) -> BpeTokenizer:
        """Learns at most `vocabulary` tokens from the documents; the same documents give the same tokenizer."""
        return cls(learn_bpe(documents, vocabulary=vocabulary))

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        kept = [token for token in tokens if token not in self._silent]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=False)
        return text

    def encode_documents(self, documents: Sequence[str]) -> np.ndarray[Any, np.dtype[Any]]:
        dtype = np.uint16 if self.vocabulary <= 2**16 else np.uint32
        end = np.array([self.end_of_document], dtype=dtype)
        parts = [np.zeros(0, dtype=dtype)]
        for batch in _batches(documents):
            # Ctrl-C takes effect between two calls.
            for encoding, ends in zip(
                self._tokenizer.encode_batch_fast([text for text, _ in batch]), [it for _, it in batch], strict=True
            ):
                parts += [np.array(encoding.ids, dtype=dtype), *([end] if ends else [])]
        return np.concatenate(parts)

    def token_bytes(self) -> np.ndarray[Any, np.dtype[np.uint16]]:
        # The byte-level alphabet writes every byte as one character.
        sizes = np.zeros(self.vocabulary, dtype=np.uint16)
        for token, number in self._tokenizer.get_vocab().items():
            sizes[number] = 0 if number in self._silent else len(token)
        return sizes


def make_tokenizer(json: str | None) -> Tokenizer:
    """Returns the tokenizer of the content of a `tokenizer.json`; bytes without one."""
    return ByteTokenizer() if json is None else BpeTokenizer(json)


def train_tokenizer(
    spec: TokenizerSpec, documents: Sequence[str], *, say: Callable[[str], None] = lambda line: None
) -> Tokenizer:
    """Returns the tokenizer of `spec`. BPE is learnt from the documents, after `say` gets a line about it."""
    if spec.kind == "bytes":
        return ByteTokenizer()
    characters = sum(map(len, documents))
    of = f"a sample of {MAX_LEARNT_CHARACTERS:,} of " if characters > MAX_LEARNT_CHARACTERS else ""
    say(f"learning a vocabulary of {spec.vocabulary:,} tokens from {of}{characters:,} characters")
    return BpeTokenizer.train(documents, vocabulary=spec.vocabulary)


def _batches(documents: Sequence[str]) -> Iterator[list[tuple[str, bool]]]:
    """Yields batches of pieces of documents in their order, each with whether its document ends there.

    A document is cut only after a line's end between two characters that are no spaces: tokens do not change there.
    """
    batch: list[tuple[str, bool]] = []
    size = 0
    for text in documents:
        start = 0
        while start < len(text) or not start:
            cut = _CUT.search(text, start + _PIECE_CHARACTERS)
            end = len(text) if cut is None else cut.end()
            batch.append((text[start:end], end == len(text)))
            size += end - start
            start = max(end, 1)
            if size >= _BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch
