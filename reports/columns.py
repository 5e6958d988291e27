"""How a column of a table is declared: its unit, its meaning, and the values that it can hold."""

from __future__ import annotations

import dataclasses
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
