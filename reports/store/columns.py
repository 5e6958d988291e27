"""How a column of a table is declared: its unit, its meaning, and the values that it can hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["text", "numbers", "object", "wiring"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The values that a column can hold; both ends are included."""

    least: float | None = None
    most: float | None = None
    infinite: bool = False
    """Whether a number may be infinite."""
    nan: bool = False
    """Whether it may be no number, as the loss of a training that diverged."""
    least_complete: float | None = None
    """`least` of a complete trial's."""
    complete_only: bool = False
    """Whether it is set for complete trials alone."""
    key: bool = False
    """Whether no two rows have the same values in all columns that say so."""
    one_of: tuple[str, ...] = ()
    form: Form = "text"
    """Of a text: any, or JSON of numbers, of an object, of a wiring."""

    def rule_against(self, value: float) -> str:
        """What a number breaks of them; empty where it may be."""
        if math.isnan(value) and not self.nan:
            return "a number"
        if math.isinf(value) and not self.infinite:
            return "finite"
        if self.least is not None and value < self.least:
            return f"at least {self.least:g}"
        return f"at most {self.most:g}" if self.most is not None and value > self.most else ""

    def metadata(self) -> dict[str, str]:
        """For the Arrow schema."""
        ends = {"least": self.least, "most": self.most}
        return {name: f"{value:g}" for name, value in ends.items() if value is not None}


ANY, COUNT, POSITIVE = Bounds(), Bounds(least=0), Bounds(least=1)
AMOUNT = Bounds(least=0.0, most=1e15)
"""Of seconds, bytes and ratios."""
LOSS = Bounds(least=0.0, infinite=True, nan=True)
LOSS_AT_END = Bounds(least=0.0, most=1e15)
NUMBER, KEY = (Bounds(least=0, most=10**9, key=key) for key in (False, True))
BLOCKS = Bounds(least=1, most=10**5)


def column(unit: str, meaning: str, *, default: Any = dataclasses.MISSING, bounds: Bounds = ANY) -> Any:
    """A dataclass field with its unit, meaning and bounds for the Arrow schema.

    A row of an older part gets the default; one whose value is out of bounds is never read (`bounds`).
    """
    return dataclasses.field(metadata={"unit": unit, "meaning": meaning, "bounds": bounds}, default=default)


def check_numbers(values: Mapping[str, Any], *, row_class: type[Any]) -> None:
    """Raises `ValueError`, one line, for a number out of the bounds of the column of its name."""
    declared = {item.name: item.metadata["bounds"] for item in dataclasses.fields(row_class)}
    for name, value in values.items():
        if name in declared and isinstance(value, (int, float)) and (rule := declared[name].rule_against(value)):
            raise ValueError(f"{name} is {value!r:.40}, it must be {rule}")
