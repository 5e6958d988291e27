"""A list as `recipe.learning_rate` of a spec: each fusion and depth gets the best of these rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from depthweave.search.spec.part import SHOWN_CHARACTERS
from depthweave.search.spec.task_objectives import DEFAULT_TASK

_MAX_RATES = 8
"""More cost more than they can gain: rates a factor of two apart differ little."""


def rates_of(given: Sequence[Any], *, task: Any) -> tuple[float, ...]:
    """Returns the rates of a list, ascending. Raises `ValueError`, one line, where there is nothing to choose from."""
    shown = f"recipe.learning_rate is {[*given]!r:.{SHOWN_CHARACTERS}}"
    if task != DEFAULT_TASK:
        raise ValueError(f"{shown}: give one rate for {task!s:.40}, whose heads have their own multiples of it")
    if not 1 <= len(given) <= _MAX_RATES:
        raise ValueError(f"{shown}: give one rate, or a list of 2 to {_MAX_RATES}, such as [2e-3, 4e-3, 8e-3]")
    rates = [_rate(item) for item in given]
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"{shown}: every rate must be a number above 0")
    if len(set(rates)) < len(rates):
        raise ValueError(f"{shown}: a rate is there twice: list each once")
    return tuple(sorted(rates))


def _rate(value: Any) -> float:
    """Returns the number, NaN for anything else. YAML reads `2e-3` as text."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan
