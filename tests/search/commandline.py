"""What a command of the command line came to, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Answer(NamedTuple):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]
"""Runs the command line with these arguments."""
