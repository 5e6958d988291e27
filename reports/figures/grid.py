"""A table with coloured cells: a heat map whose cells have numbers."""

from __future__ import annotations

from typing import NamedTuple

from depthweave.reports.filled_columns import filled_columns


class Cell(NamedTuple):
    """One cell."""

    text: str
    share: float | None = None
    """Strength of the colour, from -1 (lower, better) to 1 (higher, worse); `None` for no colour."""
    more: str = ""
    """A second line in faint type."""
    tip: str = ""
    """The hover text."""


class GridRow(NamedTuple):
    """A row with its name."""

    name: str
    colour: str
    """Of the dot before the name; empty for no dot."""
    cells: list[Cell]


class Grid(NamedTuple):
    """The whole table."""

    title: str
    corner: str
    """Heading of the column of names."""
    columns: list[str]
    rows: list[GridRow]


def filled_grid(grid: Grid) -> Grid:
    """Returns the table without the columns in which no cell has a text."""
    places = [str(place) for place in range(len(grid.columns))]
    kept, _ = filled_columns(places, [[cell.text for cell in row.cells] for row in grid.rows])
    shown = list(map(int, kept))
    rows = [row._replace(cells=[row.cells[place] for place in shown]) for row in grid.rows]
    return grid._replace(columns=[grid.columns[place] for place in shown], rows=rows)
