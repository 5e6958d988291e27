"""Strided rivals: the best dilation and period that is not distinguishably costlier, and what fresh seeds say."""

from __future__ import annotations

import math
from typing import Any

import pytest

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION
from depthweave.reports.analysis.strided_rivals import rivals_sentences, strided_rivals
from depthweave.reports.figures.rivals import rivals_grid
from depthweave.reports.store.records import Record
from tests.reports.synthetic import make_record

MIB = 2**20


def _record(trial: int, name: str, loss: float, **changes: Any) -> Record:
    other = {"rule": name, "dilation": None, "period": None} if ":" in name else {"rule": name}
    values = {"latency": 1.1, "latency_low": 1.08, "latency_high": 1.12, "memory_bytes": 100 * MIB, **other, **changes}
    return make_record(
        trial, **{"architecture_id": name, "loss": loss, "perplexity": math.exp(loss), "text_losses": None, **values}
    )


def _view(*records: Record) -> RunView:
    return RunView.of(records, objectives=("perplexity", "latency", "memory_bytes"))


def test_rival_is_the_best_that_is_not_distinguishably_costlier() -> None:
    view = _view(
        _record(0, "first:2", 1.0),
        # Better, but slower beyond the intervals, or larger beyond the tolerance.
        _record(1, "1x1", 0.9, latency=1.3, latency_low=1.25, latency_high=1.35),
        _record(2, "2x1", 0.95, memory_bytes=102 * MIB),
        # Within both.
        _record(3, "4x1", 1.05, latency=1.13, latency_low=1.11, latency_high=1.15, memory_bytes=100.5 * MIB),
        _record(4, "1x4", 1.2),
    )
    (found,) = strided_rivals(view)
    assert (found.member.architecture_id, found.rival.architecture_id, found.difference) == ("first:2", "4x1", None)
    grid = rivals_grid([found], quality="perplexity")
    assert grid is not None
    assert [cell.text for cell in grid.rows[0].cells] == ["2.718", "2.858", "-0.050", "no"]
    assert grid.rows[0].cells[2].more == "the search's seed"


def test_member_without_a_cheap_enough_rival_is_counted() -> None:
    view = _view(_record(0, "first:2", 1.0), _record(1, "1x1", 0.9, latency=1.3, latency_low=1.25, latency_high=1.35))
    assert strided_rivals(view) == []
    (sentence,) = rivals_sentences(view)
    assert sentence.startswith("1 distinct member of the front has another wiring")
    assert sentence.endswith("0 are ahead and 1 is without such a rival.")
    assert rivals_grid([], quality="perplexity") is None


def test_front_of_strided_members_says_nothing() -> None:
    view = _view(_record(0, "1x1", 1.0))
    assert (strided_rivals(view), rivals_sentences(view)) == ([], [])


@pytest.mark.parametrize(("gain", "word"), [(0.05, "1 is ahead"), (0.0, "0 are ahead and 1 is not settled")])
def test_fresh_seeds_settle_who_is_ahead(gain: float, word: str) -> None:
    # Smaller within the tolerance, so that it is on the front however the losses are.
    records = [_record(0, "first:2", 1.0, memory_bytes=99.5 * MIB), _record(1, "1x4", 1.2)]
    for seed in range(1, 6):
        noise = 0.01 * math.sin(7.0 * seed)
        fresh = FIRST_CONFIRMATION + 2 * seed
        records += [
            _record(fresh, "first:2", 1.2 - gain + noise, seed=seed, memory_bytes=99.5 * MIB),
            _record(fresh + 1, "1x4", 1.2 + 0.5 * noise, seed=seed),
        ]
    view = _view(*records)
    (found,) = strided_rivals(view)
    assert found.difference is not None
    assert found.difference.interval.num == 5
    assert found.difference.settled is bool(gain)
    assert word in rivals_sentences(view)[0]
