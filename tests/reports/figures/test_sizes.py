"""Figures of patterns over sizes show what the analysis found."""

from __future__ import annotations

import pytest

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.sizes import Sizes, sizes_of
from depthweave.reports.figures.sizes import draw_size_lines, draw_size_ranks, ranks_grid, size_lines, sizes_grid
from tests.reports.sized import dwa, sized_records

SMALL, LARGE = 100_000, 400_000


@pytest.fixture(scope="module")
def sizes() -> Sizes:
    """A settled pattern, an open one, and one that the largest size lacks."""
    middle = 200_000
    found = sizes_of(
        RunView.of(
            sized_records(
                {
                    (6, SMALL): [(dwa(1, 1), -0.03), (dwa(2, 1), 0.0), (dwa(4, 1), -0.02)],
                    (6, middle): [(dwa(1, 1), -0.03), (dwa(2, 1), 0.0), (dwa(4, 1), -0.02)],
                    (6, LARGE): [(dwa(1, 1), -0.03), (dwa(2, 1), 0.0)],
                }
            ),
            objectives=("perplexity",),
        )
    )
    assert found is not None
    return found


def test_lines_have_the_differences_and_settled_ones_their_intervals(sizes: Sizes) -> None:
    (data,) = size_lines(sizes)
    figure = draw_size_lines(data)
    lines = {trace.name: trace for trace in figure.data}
    settled, open_one = lines["dwa 1×1, 6 blocks"], lines["dwa 2×1, 6 blocks"]
    assert list(settled.x) == [SMALL, 200_000, LARGE]
    assert list(settled.y) == pytest.approx([-0.03] * 3)
    interval = sizes.patterns[0].points[0].difference
    assert settled.error_y.array[0] == pytest.approx(interval.half_width)
    assert open_one.error_y.array is None
    assert open_one.opacity < settled.opacity == 1.0


def test_lines_that_end_apart_are_labelled_and_settled_ones_come_first(sizes: Sizes) -> None:
    (data,) = size_lines(sizes)
    ends = {trace.name: trace.text[-1] for trace in draw_size_lines(data).data}
    assert ends == {"dwa 1×1, 6 blocks": "dwa 1×1", "dwa 2×1, 6 blocks": "dwa 2×1", "dwa 4×1, 6 blocks": ""}
    settled, *others = sorted(data.lines, key=lambda it: not it.settled)
    same = [it._replace(x=settled.x, y=settled.y, settled=False) for it in others]
    assert [trace.text[-1] for trace in draw_size_lines(data._replace(lines=[*same, settled])).data] == [
        *[""] * len(others),
        "dwa 1×1",
    ]


def test_ranks_show_patterns_of_both_ends_only(sizes: Sizes) -> None:
    (data,) = size_lines(sizes)
    (trace,) = draw_size_ranks(data).data
    assert list(trace.x) == pytest.approx([0.0, -0.03], abs=1e-9)
    assert list(trace.y) == pytest.approx([0.0, -0.03], abs=1e-9)


def test_tables_leave_cells_of_absent_sizes_empty(sizes: Sizes) -> None:
    grid = sizes_grid(sizes)
    assert grid is not None
    cells = {row.name: row.cells for row in grid.rows}
    assert len(grid.columns) == len(cells["dwa 4×1, 6 blocks"]) == 6
    assert cells["dwa 4×1, 6 blocks"][3].text == ""
    assert cells["dwa 1×1, 6 blocks"][1].text == "-0.0300"
    ranks = ranks_grid(sizes)
    assert ranks is not None
    assert {row.cells[3].text for row in ranks.rows} == {"100 k and 400 k", "200 k and 400 k"}
