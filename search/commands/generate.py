"""`depthweave generate`: text from an exported model, printed as it is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from depthweave.reports.export import read_training
from depthweave.reports.export.tokenizer import read_tokenizer
from depthweave.reports.store.run_store import TOKENIZER_FILE
from depthweave.spaces import load, stream
from depthweave.trainers import Tokenizer, make_tokenizer
from depthweave.trainers.allowance import usable_cpus

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
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is no folder: give one that depthweave export or train wrote")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder: give one that depthweave export or train wrote")
    model = load(folder)
    tokenizer = _tokenizer(folder, vocabulary=model.architecture.vocabulary)
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"--prompt {prompt!r}: it is not UTF-8 text: check the terminal's encoding") from None
    tokens = tokenizer.encode(prompt)
    # Torch looks at the affinity, and not at the quota of a control group.
    torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))
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
            # All is torn for good, but for an end that may be the begin of a character.
            torn = _num_torn(pending, tokenizer=tokenizer)
            yield tokenizer.decode(pending[:torn])
            pending = pending[torn:]
    if pending:
        yield tokenizer.decode(pending)


def _num_torn(pending: Sequence[int], *, tokenizer: Tokenizer) -> int:
    """How many of the tokens come before the last torn character; their text alone is as it is in the whole."""
    text = tokenizer.decode(pending)
    for count in range(len(pending) - 1, 0, -1):
        if tokenizer.decode(pending[count:]) == _TORN and tokenizer.decode(pending[:count]) + _TORN == text:
            return count
    return 1


def _tokenizer(folder: Path, *, vocabulary: int) -> Tokenizer:
    tokenizer = make_tokenizer(read_tokenizer(folder, recorded=read_training(folder)))
    if tokenizer.vocabulary != vocabulary:
        raise ValueError(
            f"{folder / TOKENIZER_FILE}: has {tokenizer.vocabulary} tokens, the model {vocabulary}: restore the "
            f"export's own"
        )
    return tokenizer
