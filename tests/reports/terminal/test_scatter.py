"""The plot in characters: what lies lower left on paper lies lower left here."""

from __future__ import annotations

import pytest

from depthweave.reports.terminal.scatter import Mark, nice_ticks, scatter


def plot(marks: list[Mark], *, step: list[tuple[float, float]] | None = None, columns: int = 50) -> list[str]:
    text = scatter(marks, step=step or [], x_title="cost", y_title="loss", columns=columns, rows=9)
    return text.plain.split("\n")


def place_of(sign: str, lines: list[str]) -> tuple[int, int]:
    """Row from the top and column of a sign that occurs once."""
    ((row, line),) = [(row, line) for row, line in enumerate(lines) if sign in line]
    return row, line.index(sign)


def test_marks_stand_in_the_order_of_their_values() -> None:
    lines = plot([Mark(1.0, 9.0, "A", ""), Mark(2.0, 5.0, "B", ""), Mark(4.0, 1.0, "C", "")])
    places = [place_of(sign, lines[1:-3]) for sign in "ABC"]
    assert places == sorted(places)
    assert [column for _, column in places] == sorted(column for _, column in places)
    # Equal distances on the axis are equal distances in cells, to a cell's rounding.
    (_, a), (_, b), (_, c) = places
    assert abs((c - b) - 2 * (b - a)) <= 2


def test_plot_keeps_its_width_and_height() -> None:
    for columns in (40, 80):
        lines = plot([Mark(1.0, 9.0, "A", "", label="x" * 60), Mark(2.0, 5.0, "B", "")], columns=columns)
        assert max(map(len, lines)) == columns
        assert len(lines) == 1 + 9 + 3


def test_step_goes_right_and_then_down_from_the_top_edge_to_the_right_edge() -> None:
    marks = [Mark(1.0, 9.0, "A", ""), Mark(3.0, 1.0, "B", "")]
    lines = plot(marks, step=[(mark.x, mark.y) for mark in marks])
    (row, column), (other_row, other_column) = place_of("A", lines), place_of("B", lines)
    assert lines[row][column + 1 : other_column] == "─" * (other_column - column - 1)
    assert lines[row][other_column] == "┐"
    assert all(lines[between][other_column] == "│" for between in range(row + 1, other_row))
    assert lines[other_row].endswith("─")


def test_label_gives_way_where_there_is_no_room() -> None:
    crowd = [Mark(1.0 + index / 1000, 2.0, "o", "", label=f"name{index}") for index in range(30)]
    lines = plot([*crowd, Mark(2.0, 1.0, "z", "", label="far")])
    assert "far" in "".join(lines)
    num_named = sum(f"name{index} " in "\n".join(lines) or f"name{index}\n" in "\n".join(lines) for index in range(30))
    assert 1 <= num_named < 10


def test_one_point_and_equal_values_are_drawn() -> None:
    assert place_of("A", plot([Mark(0.0, 0.0, "A", "")]))
    assert place_of("B", plot([Mark(3.0, 3.0, "A", ""), Mark(3.0, 3.0, "B", "")]))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, [0.0, 0.5, 1.0]), (0.74, 1.05, [0.8, 0.9, 1.0]), (30.0, 49.0, [30.0, 35.0, 40.0, 45.0])],
)
def test_ticks_are_round_numbers_inside_the_range(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, num=4 if low else 3) == pytest.approx(ticks)
