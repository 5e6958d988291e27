"""Opens a `tokenizer.json` with the tokenizers library, or raises one line of error.

The library is written in Rust, and some files make it panic. A panic is no `Exception` in Python, and its long trace
goes directly to the standard error of the process. So a file of Depthweave is first compared with what it writes, and a
panic becomes a one-line error.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
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
"""Types of each part that Depthweave writes."""


def open_tokenizer(text: str) -> tokenizers.Tokenizer:
    """Returns the tokenizer of a `tokenizer.json`. Raises a one-line `ValueError` where Depthweave did not write it."""
    return _opened(text, check=_check, advice="export it again")


def open_foreign_tokenizer(text: str) -> tokenizers.Tokenizer:
    """Returns the tokenizer of any `tokenizer.json`, that of a pretrained model. Raises a one-line `ValueError`."""
    return _opened(text, check=_check_size, advice="give the file that transformers saves")


def _opened(text: str, *, check: Callable[[str], None], advice: str) -> tokenizers.Tokenizer:
    try:
        check(text)
        with panics_as_errors():
            opened = tokenizers.Tokenizer.from_str(text)
        # transformers saves its last truncation and padding with the tokenizer.
        opened.no_padding()
        opened.no_truncation()
        return opened
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:  # The library raises bare Exception.
        reason = " ".join(str(error).split())[:200]
    raise ValueError(f"tokenizer.json cannot be read ({reason}); {advice}") from None


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Turns a panic of a library written in Rust into a `ValueError`, and does not print its trace."""
    with _captured_stderr() as trace:
        try:
            yield
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            trace.truncate(0)
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"the tokenizers library failed: {reason}") from None


@contextmanager
def _captured_stderr() -> Iterator[BinaryIO]:
    """Yields a file that collects the standard error of the process, and prints its content at the end."""
    with tempfile.TemporaryFile() as file:
        try:
            former = os.dup(2)
        except OSError:
            # Standard error is closed, so nothing is printed.
            yield file
            return
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(former, 2)
            os.close(former)
            file.seek(0)
            os.write(2, file.read())


def _check_size(text: str) -> None:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, at most {_MAX_CHARACTERS:,} are read")


def _check(text: str) -> None:
    _check_size(text)
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
