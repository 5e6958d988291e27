"""Whose front is ahead: planted fronts, and what one seed cannot settle."""

from __future__ import annotations

import numpy as np
import pytest

from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION
from depthweave.reports.comparison.dominance import covered_frac, dominance_of
from depthweave.reports.store.records import Record
from tests.reports.comparing import make_run

PAIR = ("perplexity", "latency")


def confirmed(*, loss: float, latency: float, noise: float = 0.002) -> list[Record]:
    """A run of three seeds, whose losses differ by that noise."""
    records = make_run(loss=loss, latency=latency)
    for seed, shift in ((1, noise), (2, -noise)):
        records += make_run(loss=loss + shift, latency=latency, first_trial=FIRST_CONFIRMATION + 20 * seed, seed=seed)
    return records


def test_coverage_is_counted_point_by_point() -> None:
    by = np.array([[1.0, 3.0], [2.0, 1.0]])
    of = np.array([[1.0, 3.0], [3.0, 1.0], [0.5, 9.0], [1.5, 2.0]])
    assert covered_frac(by, of) == 0.5
    assert covered_frac(by, by) == 1
    assert covered_frac(of, by[:0]) == 0


def test_better_in_all_dominates_and_the_same_is_equal() -> None:
    better, worse = make_run(loss=1.4, latency=0.9), make_run(loss=1.6, latency=1.1)
    found = dominance_of(better, worse, objectives=PAIR)
    assert (found.verdict, found.coverage) == ("first", (1.0, 0.0))
    assert found.hypervolume[0] > found.hypervolume[1]
    assert dominance_of(worse, better, objectives=PAIR).verdict == "second"
    assert dominance_of(worse, worse, objectives=PAIR).verdict == "equal"


def test_better_in_one_and_worse_in_the_other_is_neither() -> None:
    found = dominance_of(make_run(loss=1.4, latency=1.3), make_run(loss=1.6, latency=0.9), objectives=PAIR)
    assert (found.verdict, found.settled) == ("neither", False)


@pytest.mark.parametrize(("noise", "settled"), [(0.002, True), (0.2, False)])
def test_dominance_is_settled_where_it_holds_over_all_intervals(noise: float, settled: bool) -> None:
    better = confirmed(loss=1.4, latency=0.9, noise=noise)
    worse = confirmed(loss=1.6, latency=1.1, noise=noise)
    found = dominance_of(better, worse, objectives=PAIR)
    assert (found.verdict, found.settled) == ("first", settled)


def test_one_seed_settles_nothing() -> None:
    better, worse = make_run(loss=0.4, latency=0.1), confirmed(loss=1.6, latency=1.1)
    assert not dominance_of(better, worse, objectives=PAIR).settled
