"""Marks of fusions in a terminal differ within a run, and take one cell."""

from __future__ import annotations

import itertools

from rich.cells import cell_len

from depthweave.reports.figures.palette import FUSION_COLOURS
from depthweave.reports.terminal.fusion_marks import _SPARE_MARKS, marks_of
from depthweave.spaces.heads import HEADS

DRAWN = "·─│┐┤"
"""Characters of the plot that are no marks of fusions."""


def test_each_fusion_of_a_run_has_a_mark_of_its_own() -> None:
    unknown = [f"mystery{number}" for number in range(len(_SPARE_MARKS))]
    for names in ([*FUSION_COLOURS, *unknown], list(HEADS)):
        marks = marks_of(names)
        assert set(marks) == set(names)
        assert len({*marks.values(), *DRAWN}) == len(names) + len(DRAWN)
        assert all(cell_len(mark) == 1 for mark in marks.values())


def test_known_fusions_keep_their_marks_beside_any_others() -> None:
    everything = marks_of([*FUSION_COLOURS, "mystery"])
    for one, other in itertools.pairwise(FUSION_COLOURS):
        assert marks_of([one, other]) == {name: everything[name] for name in (one, other)}
    assert marks_of(["a", "b"]) == marks_of(["b", "a", "b"])
