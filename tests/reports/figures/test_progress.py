"""Hypervolume over finished trials."""

from __future__ import annotations

import pytest

from depthweave.reports.figures.progress import draw_progress, progress_data
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

PAIR = ("perplexity", "latency")


def test_progress_never_falls_and_counts_every_trial() -> None:
    records = [trial.record for trial in synthetic_trials()]
    data = progress_data(records, objectives=OBJECTIVES)
    assert data.num_finished == list(range(1, 33))
    assert data.hypervolume_frac == sorted(data.hypervolume_frac)
    assert 0 < data.hypervolume_frac[-1] <= 1
    # A stopped trial moves nothing.
    assert data.hypervolume_frac[5] == data.hypervolume_frac[4]


def test_progress_by_hand() -> None:
    # Reference point (3.2, 3.2), ideal (1, 1): a box of 2.2 x 2.2.
    records = [
        make_record(0, perplexity=3.0, latency=1.0),
        make_record(1, state="failed", perplexity=None),
        make_record(2, perplexity=1.0, latency=3.0),
    ]
    data = progress_data(records, objectives=PAIR)
    box = 2.2 * 2.2
    first = 0.2 * 2.2 / box
    assert data.hypervolume_frac == pytest.approx([first, first, (0.2 * 2.2 + 2.2 * 0.2 - 0.2 * 0.2) / box])


def test_progress_order_is_that_of_finishing() -> None:
    late, early = make_record(9), make_record(1)
    assert progress_data([late, early], objectives=PAIR).trials == [1, 9]


def test_progress_of_nothing_complete_is_empty() -> None:
    data = progress_data([make_record(0, state="failed", perplexity=None)], objectives=PAIR)
    assert data.trials == []
    draw_progress(data).to_json()
