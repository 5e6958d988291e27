"""A scatter plot with a step line in characters, for a terminal. It needs no library and is readable without colour.

A cell is a character. The plot shows the order of the points in both directions; a table has the values.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

_TICKS = 4
"""Aimed at on an axis; round numbers can give one or two more or fewer."""
_X_TICK_COLUMNS = 14
"""Width for a tick of the horizontal axis, so that its numbers do not touch."""


class Mark(NamedTuple):
    """A point: its values, its character, and a label beside it."""

    x: float
    y: float
    symbol: str
    style: str
    label: str = ""
    """Left out if there is no room for it."""


class _Grid:
    """Characters with styles, `[rows, columns]`; row 0 is the top."""

    def __init__(self, *, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._cells: dict[tuple[int, int], tuple[str, str]] = {}

    def put(self, row: int, column: int, symbol: str, style: str) -> None:
        if 0 <= row < self.rows and 0 <= column < self.columns:
            self._cells[row, column] = (symbol, style)

    def is_free(self, row: int, columns: range) -> bool:
        inside = 0 <= row < self.rows and columns.start >= 0 and columns.stop <= self.columns
        return inside and not any((row, column) in self._cells for column in columns)

    def line(self, row: int) -> Text:
        text = Text()
        cells = (self._cells.get((row, column), (" ", "")) for column in range(self.columns))
        for style, alike in itertools.groupby(cells, key=operator.itemgetter(1)):
            text.append("".join(symbol for symbol, _ in alike), style=style)
        return text


class _Axis(NamedTuple):
    """One axis: its range and its number of cells."""

    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        """Returns the cell of a value, counted from the low end, 0 to `cells - 1`."""
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
    """Returns the plot, at most `columns` wide and with `rows` inside the axes. Later marks cover earlier ones.

    `step` are points by rising x and falling y; the line between them goes right and then down. There must be at least
    one mark. The titles are above and below the plot.
    """
    ys = _padded([mark.y for mark in marks])
    y_ticks = nice_ticks(*ys, num=_TICKS)
    tick_texts = [_number(tick, y_ticks) for tick in y_ticks]
    margin = max(map(len, tick_texts)) + 2
    grid = _Grid(rows=rows, columns=max(10, columns - margin))
    xs = _padded([mark.x for mark in marks])
    x_axis, y_axis = _Axis(*xs, grid.columns), _Axis(*ys, rows)
    _draw_step(grid, [(x_axis.cell(x), rows - 1 - y_axis.cell(y)) for x, y in step])
    places = [(x_axis.cell(mark.x), rows - 1 - y_axis.cell(mark.y)) for mark in marks]
    for mark, (column, row) in zip(marks, places, strict=True):
        grid.put(row, column, mark.symbol, mark.style)
    for mark, (column, row) in zip(marks, places, strict=True):
        _write_label(grid, mark, row=row, column=column)
    labelled = {rows - 1 - y_axis.cell(tick): text for tick, text in zip(y_ticks, tick_texts, strict=True)}
    plot = Text(f"{y_title}\n", no_wrap=True)
    for row in range(rows):
        tick_text = labelled.get(row)
        edge = "│" if tick_text is None else "┤"
        plot.append(f"{tick_text or '':>{margin - 2}} {edge}").append_text(grid.line(row)).append("\n")
    x_ticks = nice_ticks(*xs, num=max(2, grid.columns // _X_TICK_COLUMNS))
    plot.append(_x_axis(x_ticks, axis=x_axis, margin=margin))
    return plot.append(f"\n{x_title:>{margin + grid.columns}}")


def nice_ticks(low: float, high: float, *, num: int) -> list[float]:
    """Returns about `num` multiples of 1, 2 or 5 times a power of ten inside the range."""
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
    """Draws the line from the top edge through the points at right angles to the right edge."""
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
    """Writes the label beside, above or below the mark at the first free place, if there is one."""
    if not mark.label:
        return
    width = len(mark.label)
    starts = [(row, column + 2), (row - 1, column + 1), (row + 1, column - width), (row, column - width - 1)]
    for at_row, start in [*starts, (row - 1, column - width), (row + 1, column + 1)]:
        # With a blank on both sides, so that it does not touch a line or another label.
        if grid.is_free(at_row, range(max(0, start - 1), min(grid.columns, start + width + 1))) and start >= 0:
            if start + width > grid.columns:
                continue
            for offset, character in enumerate(mark.label):
                grid.put(at_row, start + offset, character, mark.style)
            return


def _x_axis(ticks: Sequence[float], *, axis: _Axis, margin: int) -> str:
    edge, numbers = ["─"] * axis.cells, [" "] * (margin + axis.cells)
    for tick in ticks:
        column, head = axis.cell(tick), _number(tick, ticks)
        edge[column] = "┬"
        start = min(max(0, margin + column - len(head) // 2), len(numbers) - len(head))
        numbers[start : start + len(head)] = head
    return " " * (margin - 1) + "└" + "".join(edge) + "\n" + "".join(numbers).rstrip()
