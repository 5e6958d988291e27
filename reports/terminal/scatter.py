"""A scatter plot with a step line in characters, for a terminal: no library, no colour needed to read it.

A cell is a character: the plot tells which point is left of and below which other, the table beside it by how much.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

_TICKS = 4
"""Wanted on an axis; nice numbers give one or two more or fewer."""
_X_TICK_COLUMNS = 14
"""Room for a tick of the horizontal axis, so that its numbers do not touch."""


class Mark(NamedTuple):
    """A point: its values, the character that stands for it, and what may be written beside it."""

    x: float
    y: float
    sign: str
    style: str
    label: str = ""
    """Left out where there is no room for it."""


class _Grid:
    """Characters with styles, `[rows, columns]`; row 0 is the top."""

    def __init__(self, *, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._cells: dict[tuple[int, int], tuple[str, str]] = {}

    def put(self, row: int, column: int, sign: str, style: str) -> None:
        if 0 <= row < self.rows and 0 <= column < self.columns:
            self._cells[row, column] = (sign, style)

    def is_free(self, row: int, columns: range) -> bool:
        inside = 0 <= row < self.rows and columns.start >= 0 and columns.stop <= self.columns
        return inside and not any((row, column) in self._cells for column in columns)

    def line(self, row: int) -> Text:
        text = Text()
        cells = (self._cells.get((row, column), (" ", "")) for column in range(self.columns))
        for style, alike in itertools.groupby(cells, key=operator.itemgetter(1)):
            text.append("".join(sign for sign, _ in alike), style=style)
        return text


class _Axis(NamedTuple):
    """One axis: its range and the cells that it has."""

    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        """The cell from the low end, 0 to `cells - 1`."""
        place = (value - self.low) / (self.high - self.low) * (self.cells - 1)
        return round(min(max(place, 0), self.cells - 1))


def scatter(
    marks: Sequence[Mark],
    *,
    step: Sequence[tuple[float, float]],
    x_title: str,
    y_title: str,
    columns: int,
    rows: int,
) -> Text:
    """The plot, at most `columns` wide, `rows` the height of its inside; later marks lie on top of earlier ones.

    `step` are points by rising x and falling y, joined by a line that first goes right and then down.
    At least one mark; titles stand above and below.
    """
    ys = _padded([mark.y for mark in marks])
    y_ticks = nice_ticks(*ys, num=_TICKS)
    heads = [_number(tick, y_ticks) for tick in y_ticks]
    margin = max(map(len, heads)) + 2
    grid = _Grid(rows=rows, columns=max(10, columns - margin))
    xs = _padded([mark.x for mark in marks])
    x_axis, y_axis = _Axis(*xs, grid.columns), _Axis(*ys, rows)
    _draw_step(grid, [(x_axis.cell(x), rows - 1 - y_axis.cell(y)) for x, y in step])
    places = [(x_axis.cell(mark.x), rows - 1 - y_axis.cell(mark.y)) for mark in marks]
    for mark, (column, row) in zip(marks, places, strict=True):
        grid.put(row, column, mark.sign, mark.style)
    for mark, (column, row) in zip(marks, places, strict=True):
        _write_label(grid, mark, row=row, column=column)
    named = {rows - 1 - y_axis.cell(tick): head for tick, head in zip(y_ticks, heads, strict=True)}
    text = Text(f"{y_title}\n", no_wrap=True)
    for row in range(rows):
        head = named.get(row)
        edge = "│" if head is None else "┤"
        text.append(f"{head or '':>{margin - 2}} {edge}").append_text(grid.line(row)).append("\n")
    x_ticks = nice_ticks(*xs, num=max(2, grid.columns // _X_TICK_COLUMNS))
    text.append(_x_axis(x_ticks, axis=x_axis, margin=margin))
    return text.append(f"\n{x_title:>{margin + grid.columns}}")


def nice_ticks(low: float, high: float, *, num: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside the range, about `num` of them."""
    rough = (high - low) / max(1, num)
    power = 10.0 ** math.floor(math.log10(rough))
    spacing = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / spacing - 1e-9), math.floor(high / spacing + 1e-9)
    return [index * spacing for index in range(first, last + 1)]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - pad, high + pad


def _number(tick: float, ticks: Sequence[float]) -> str:
    spacing = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else abs(tick) or 1.0
    return f"{tick:,.{max(0, -math.floor(math.log10(spacing) + 1e-9))}f}"


def _draw_step(grid: _Grid, cells: Sequence[tuple[int, int]]) -> None:
    """From the top edge down to the first point, by right angles through the others, on to the right edge."""
    if not cells:
        return
    corners = [(cells[0][0], 0), *cells, (grid.columns - 1, cells[-1][1])]
    for (column, row), (next_column, next_row) in itertools.pairwise(corners):
        for between in range(column + 1, next_column):
            grid.put(row, between, "─", "dim")
        for between in range(row + 1, next_row):
            grid.put(between, next_column, "│", "dim")
        if next_row > row and next_column > column:
            grid.put(row, next_column, "┐", "dim")
    grid.put(corners[0][1], corners[0][0], "│", "dim")
    grid.put(corners[-1][1], corners[-1][0], "─", "dim")


def _write_label(grid: _Grid, mark: Mark, *, row: int, column: int) -> None:
    """Beside, above or below the mark, wherever nothing stands yet; nowhere where all is taken."""
    if not mark.label:
        return
    width = len(mark.label)
    starts = [(row, column + 2), (row - 1, column + 1), (row + 1, column - width), (row, column - width - 1)]
    for at_row, start in [*starts, (row - 1, column - width), (row + 1, column + 1)]:
        # A blank on both sides, so that it does not run into a line or another label.
        if grid.is_free(at_row, range(max(0, start - 1), min(grid.columns, start + width + 1))) and start >= 0:
            if start + width > grid.columns:
                continue
            for offset, sign in enumerate(mark.label):
                grid.put(at_row, start + offset, sign, mark.style)
            return


def _x_axis(ticks: Sequence[float], *, axis: _Axis, margin: int) -> str:
    edge, numbers = ["─"] * axis.cells, [" "] * (margin + axis.cells)
    for tick in ticks:
        column, head = axis.cell(tick), _number(tick, ticks)
        edge[column] = "┬"
        start = min(max(0, margin + column - len(head) // 2), len(numbers) - len(head))
        numbers[start : start + len(head)] = head
    return " " * (margin - 1) + "└" + "".join(edge) + "\n" + "".join(numbers).rstrip()
