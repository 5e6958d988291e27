"""The rules of tables: a column without any value is not shown, and one with a single value can be said once."""

from __future__ import annotations

from collections.abc import Sequence

_NO_VALUE = ("", "-", "unknown")
"""What cells without a value say."""


def filled_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Returns the columns in which a row has a value, and the rows with their cells; all columns where no row is."""
    kept = [place for place in range(len(columns)) if not rows or any(has_value(row[place]) for row in rows)]
    return [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]


def shared_columns(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[tuple[str, str]], list[str], list[list[str]]]:
    """Returns the columns whose value all of several rows share, with it, and the other columns with the rows' cells.

    A single row shares nothing.
    """
    shared = {place for place in range(len(columns)) if len(rows) > 1 and len({row[place] for row in rows}) == 1}
    others = [place for place in range(len(columns)) if place not in shared]
    return (
        [(columns[place], rows[0][place]) for place in sorted(shared)],
        [columns[place] for place in others],
        [[row[place] for place in others] for row in rows],
    )


def has_value(text: str) -> bool:
    """Returns whether the text of a cell is more than the sign for no value."""
    return text not in _NO_VALUE
