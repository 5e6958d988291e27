"""`depthweave generate`: text from an exported model, printed as it is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from depthweave.spaces import load, stream
from depthweave.spaces.regular import read_regular_text
from depthweave.trainers import Tokenizer, make_tokenizer

TOKENIZER_FILE = "tokenizer.json"

_TORN = "\ufffd"
"""What a character becomes of which bytes are missing."""
_LONGEST_CHARACTER = 4
"""Bytes, and so tokens at most."""


def print_text(folder: Path, *, prompt: str, num_tokens: int, temperature: float, top_k: int | None, seed: int) -> None:
    """Print the prompt and the text after it, as far as the document or `num_tokens`, each character once whole."""
    for piece in write_text(
        folder, prompt=prompt, num_tokens=num_tokens, temperature=temperature, top_k=top_k, seed=seed
    ):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def write_text(
    folder: Path, *, prompt: str, num_tokens: int, temperature: float, top_k: int | None, seed: int
) -> Iterator[str]:
    """The prompt, then the text in pieces of whole characters; `ValueError` in one line before the first."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder: give one that depthweave export or train wrote")
    model = load(folder)
    tokenizer = _tokenizer(folder, vocabulary=model.architecture.vocabulary)
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"--prompt {prompt!r}: it is not UTF-8 text: check the terminal's encoding") from None
    tokens = tokenizer.encode(prompt)
    # A document begins after the end of another.
    first_BT = torch.tensor([tokens or [tokenizer.end_of_document]])
    drawn = stream(
        model,
        first_BT,
        num_tokens=num_tokens,
        temperature=temperature,
        top_k=top_k,
        generator=torch.Generator().manual_seed(seed),
    )
    yield prompt
    pending: list[int] = []
    for next_B in drawn:
        token = int(next_B)
        if token == tokenizer.end_of_document:
            break
        pending.append(token)
        text = tokenizer.decode(pending)
        if not text.endswith(_TORN):
            yield text
            pending = []
        elif len(pending) == _LONGEST_CHARACTER:
            # What begins here is torn for good; what follows may still be the begin of a character.
            yield tokenizer.decode(pending[:1])
            pending = pending[1:]
    if pending:
        yield tokenizer.decode(pending)


def _tokenizer(folder: Path, *, vocabulary: int) -> Tokenizer:
    path = folder / TOKENIZER_FILE
    tokenizer = make_tokenizer(read_regular_text(path) if path.exists() else None)
    if tokenizer.vocabulary != vocabulary:
        raise ValueError(f"{path}: has {tokenizer.vocabulary} tokens, the model {vocabulary}: restore the export's own")
    return tokenizer
