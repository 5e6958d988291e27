"""Values of a JSON file of a run, checked: each function returns the value or raises a `ValueError` that names it."""

from __future__ import annotations

from typing import Any


def text_of(value: Any) -> str:
    """Returns a text."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not text")
    return value


def whole_of(value: Any) -> int:
    """Returns a whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r:.40} is not a whole number of at least 0")
    return value


def number_of(value: Any) -> float:
    """Returns a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r:.40} is not a number")
    return float(value)
