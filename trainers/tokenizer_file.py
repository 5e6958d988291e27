"""A `tokenizer.json` as the tokenizers library reads it: one that Depthweave writes, or one line of error.

The library is written in Rust, and some files make it panic: that is no `Exception` in Python, and a long trace goes
straight to the process's standard error. So a file is held against what Depthweave writes before the library sees it,
and a panic all the same becomes an error in one line.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import tokenizers

_MAX_CHARACTERS = 2**28
"""A vocabulary of millions of tokens has fewer."""
_ALLOWED: dict[str, tuple[str | None, ...]] = {
    "normalizer": (None,),
    "pre_tokenizer": (None, "ByteLevel"),
    # transformers saves an empty template.
    "post_processor": (None, "ByteLevel", "TemplateProcessing"),
    "decoder": (None, "ByteLevel"),
    "model": ("BPE",),
}
"""Kinds of each part that Depthweave writes."""


def open_tokenizer(text: str) -> tokenizers.Tokenizer:
    """The tokenizer of a `tokenizer.json`'s content; `ValueError`, one line, where it is none of Depthweave's."""
    try:
        _check(text)
        with panics_as_errors():
            opened = tokenizers.Tokenizer.from_str(text)
        # transformers saves with the tokenizer how it last cut and filled up texts.
        opened.no_padding()
        opened.no_truncation()
        return opened
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:  # The library raises bare Exception.
        reason = " ".join(str(error).split())[:200]
    raise ValueError(f"tokenizer.json cannot be read ({reason}); export it anew") from None


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Inside, a panic of a library written in Rust is a `ValueError`, and its trace is not printed."""
    with _held_back() as trace:
        try:
            yield
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            trace.truncate(0)
            told = " ".join(str(error).split())[:200]
            raise ValueError(f"the tokenizers library broke off: {told}") from None


@contextmanager
def _held_back() -> Iterator[BinaryIO]:
    """What is written to the process's standard error goes into this file first, and at the end to where it was to."""
    with tempfile.TemporaryFile() as held:
        try:
            former = os.dup(2)
        except OSError:
            # Closed: nothing is printed anyhow.
            yield held
            return
        os.dup2(held.fileno(), 2)
        try:
            yield held
        finally:
            os.dup2(former, 2)
            os.close(former)
            held.seek(0)
            os.write(2, held.read())


def _check(text: str) -> None:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, at most {_MAX_CHARACTERS:,} are read")
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("it is no object")
    for part, allowed in _ALLOWED.items():
        value = values.get(part)
        kind = value.get("type") if isinstance(value, dict) else value
        if kind not in allowed:
            raise ValueError(f"its {part} is {kind!r:.40}, where Depthweave writes {_known(allowed)}")


def _known(allowed: tuple[str | None, ...]) -> str:
    return " or ".join("none" if kind is None else kind for kind in allowed)
