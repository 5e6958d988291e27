"""Declares a column of a table: its unit, its meaning, and its bounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["text", "numbers", "object", "wiring"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The values that a column may hold; both ends are included."""

    least: float | None = None
    most: float | None = None
    infinite: bool = False
    """Whether a number may be infinite."""
    nan: bool = False
    """Whether a number may be NaN, as the loss of a training that diverged."""
    least_complete: float | None = None
    """`least` for a complete trial."""
    complete_only: bool = False
    """Whether only complete trials have a value."""
    key: bool = False
    """Whether the column belongs to the key: no two rows have the same values in all columns of the key."""
    one_of: tuple[str, ...] = ()
    """The values that a text may have; empty where any text is allowed."""
    form: Form = "text"
    """What a text holds: anything, or JSON of numbers, of an object or of a wiring."""

    def rule_against(self, value: float) -> str:
        """Returns the rule that a number breaks; empty where it breaks none."""
        if math.isnan(value) and not self.nan:
            return "a number"
        if math.isinf(value) and not self.infinite:
            return "finite"
        if self.least is not None and value < self.least:
            return f"at least {self.least:g}"
        return f"at most {self.most:g}" if self.most is not None and value > self.most else ""

    def metadata(self) -> dict[str, str]:
        """Returns the two ends for the Arrow schema."""
        ends = {"least": self.least, "most": self.most}
        return {name: f"{value:g}" for name, value in ends.items() if value is not None}


ANY, COUNT, POSITIVE = Bounds(), Bounds(least=0), Bounds(least=1)
AMOUNT = Bounds(least=0.0, most=1e15)
"""Bounds of seconds, bytes and ratios."""
LOSS = Bounds(least=0.0, infinite=True, nan=True)
LOSS_AT_END = Bounds(least=0.0, most=1e15)
NUMBER, KEY = (Bounds(least=0, most=10**9, key=key) for key in (False, True))
BLOCKS = Bounds(least=1, most=10**5)


def column(unit: str, meaning: str, *, default: Any = dataclasses.MISSING, bounds: Bounds = ANY) -> Any:
    """Returns a dataclass field with its unit, meaning and bounds for the Arrow schema.

    A row of an older file gets the default. A row with a value out of bounds is dropped (`bounds`).
    """
    return dataclasses.field(metadata={"unit": unit, "meaning": meaning, "bounds": bounds}, default=default)


def check_numbers(values: Mapping[str, Any], *, row_class: type[Any]) -> None:
    """Raises `ValueError`, one line, for a number out of the bounds of the column with its name."""
    declared = {item.name: item.metadata["bounds"] for item in dataclasses.fields(row_class)}
    for name, value in values.items():
        if name in declared and isinstance(value, (int, float)) and (rule := declared[name].rule_against(value)):
            raise ValueError(f"{name} is {value!r:.40}, it must be {rule}")
