"""The end of a message about an unknown name: the nearest known name and all known names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns "did you mean 'NEAREST'? Known: A, B"; "none is known" where `known` is empty."""
    names = list(known)
    if not names:
        return "none is known"
    nearest = get_close_matches(name, names, n=1, cutoff=0.0)
    return f"did you mean '{nearest[0]}'? Known: {', '.join(names)}"
