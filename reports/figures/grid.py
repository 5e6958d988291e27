"""A table whose cells are coloured: what a heat map is where each cell has a number to read."""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """One value."""

    text: str
    share: float | None = None
    """-1 (lower, better) to 1 (higher, worse) of the strongest colour; `None` for no colour."""
    more: str = ""
    """A second, fainter line."""
    tip: str = ""
    """What the pointer tells."""


class GridRow(NamedTuple):
    """A row with its head."""

    name: str
    colour: str
    """Of a dot before the name; empty for none."""
    cells: list[Cell]


class Grid(NamedTuple):
    """The whole table."""

    title: str
    corner: str
    columns: list[str]
    rows: list[GridRow]
