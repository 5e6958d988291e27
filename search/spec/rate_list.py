"""`recipe.learning_rate` of a spec: `auto`, one by width; one for all; or a list of which each fusion gets the best."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from depthweave.search.spec.part import SHOWN_CHARACTERS
from depthweave.search.spec.task_objectives import DEFAULT_TASK

AUTO = "auto"
_MAX_RATES = 8
"""More cost more than they can gain: rates a factor of two apart differ little."""


class GivenRate(NamedTuple):
    """What a spec says about the learning rate."""

    one: Any = None
    """For all, not checked yet; `None` for the recipe's default."""
    several: tuple[float, ...] = ()
    """To choose from, ascending."""
    by_width: bool = False


def given_rate(given: Any, *, task: Any) -> GivenRate:
    """Returns what was given; without it, language models follow their widths and other tasks have their default.

    Raises `ValueError`, one line, where a list has nothing to choose from.
    """
    if given is None and task == DEFAULT_TASK:
        return GivenRate(by_width=True)
    if given != AUTO and not isinstance(given, list | tuple):
        return GivenRate(one=given)
    shown = f"recipe.learning_rate is {(AUTO if given == AUTO else [*given])!r:.{SHOWN_CHARACTERS}}"
    if task != DEFAULT_TASK:
        raise ValueError(f"{shown}: give one rate for {task!s:.40}, whose heads have their own multiples of it")
    if given == AUTO:
        return GivenRate(by_width=True)
    if not 1 <= len(given) <= _MAX_RATES:
        raise ValueError(f"{shown}: give one rate, or a list of 2 to {_MAX_RATES}, such as [2e-3, 4e-3, 8e-3]")
    rates = [_rate(item) for item in given]
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"{shown}: every rate must be a number above 0")
    if len(set(rates)) < len(rates):
        raise ValueError(f"{shown}: a rate is there twice: list each once")
    rates.sort()
    # The middle one trains what no choice covers.
    middle = rates[len(rates) // 2]
    return GivenRate(one=middle, several=tuple(rates) if len(rates) > 1 else ())


def _rate(value: Any) -> float:
    """Returns the number, NaN for anything else. YAML reads `2e-3` as text."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan
