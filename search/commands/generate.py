"""`depthweave generate`: text from an exported model, printed as it is generated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from depthweave.reports.export import read_training
from depthweave.reports.export.tokenizer import read_tokenizer
from depthweave.reports.store.run_store import TOKENIZER_FILE
from depthweave.search.console import print_text
from depthweave.spaces import load, stream
from depthweave.trainers import Tokenizer, make_tokenizer
from depthweave.trainers.allowance import usable_cpus

_INCOMPLETE = "\ufffd"
"""The decoder's replacement for a character with missing bytes."""
_MAX_CHARACTER_TOKENS = 4
"""UTF-8 needs at most four bytes for a character, and so at most four tokens."""


def generate_and_print(
    folder: Path, *, prompt: str, num_tokens: int, temperature: float, top_k: int | None, seed: int
) -> None:
    """Prints the prompt and the text after it, up to the end of the document or `num_tokens`."""
    for piece in text_pieces(
        folder, prompt=prompt, num_tokens=num_tokens, temperature=temperature, top_k=top_k, seed=seed
    ):
        print_text(piece)
    print_text("\n")


def text_pieces(
    folder: Path, *, prompt: str, num_tokens: int, temperature: float, top_k: int | None, seed: int
) -> Iterator[str]:
    """Yields the prompt, then the text in pieces of whole characters. Raises `ValueError` before the first."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is not a folder; give one that depthweave export or train wrote")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one that depthweave export or train wrote")
    model = load(folder)
    tokenizer = _tokenizer(folder, vocabulary=model.architecture.vocabulary)
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"--prompt {prompt!r}: is not UTF-8 text; check the terminal's encoding") from None
    tokens = tokenizer.encode(prompt)
    # Torch sees the CPU affinity but not the quota of a control group.
    torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))
    # Without a prompt: after the end of a document, where the next one begins.
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
        if not text.endswith(_INCOMPLETE):
            yield text
            pending = []
        elif len(pending) == _MAX_CHARACTER_TOKENS:
            # These bytes will never be whole characters, except the last ones: they may begin one.
            broken = _num_broken(pending, tokenizer=tokenizer)
            yield tokenizer.decode(pending[:broken])
            pending = pending[broken:]
    if pending:
        yield tokenizer.decode(pending)


def _num_broken(pending: Sequence[int], *, tokenizer: Tokenizer) -> int:
    """Returns how many tokens come before the last incomplete character; their text alone is as it is in the whole."""
    text = tokenizer.decode(pending)
    for count in range(len(pending) - 1, 0, -1):
        if tokenizer.decode(pending[count:]) == _INCOMPLETE and tokenizer.decode(pending[:count]) + _INCOMPLETE == text:
            return count
    return 1


def _tokenizer(folder: Path, *, vocabulary: int) -> Tokenizer:
    tokenizer = make_tokenizer(read_tokenizer(folder, recorded=read_training(folder)))
    if tokenizer.vocabulary != vocabulary:
        raise ValueError(
            f"{folder / TOKENIZER_FILE}: has {tokenizer.vocabulary} tokens, the model {vocabulary}; restore the file "
            "of the export"
        )
    return tokenizer
