"""What the parts of a spec have in common: frozen sections without unknown keys, and whole numbers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

SHOWN_CHARACTERS = 60
"""Most characters of a value in an error message."""
MAX_WHOLE = 2**53
"""Larger whole numbers are not exact as floats."""


def _whole(value: Any) -> Any:
    # Pydantic reads `true` as 1, so a typo would become a depth.
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a whole number: give one without quotes")
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise ValueError(f"{value} is too large: give at most 2^53")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]


class Part(BaseModel):
    """A section of a spec."""

    # Infinity and NaN do not survive a file, and have no meaning for any key.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
