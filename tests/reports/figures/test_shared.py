"""Which connections members of a front share, with counts by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.figures.shared import (
    SharedConnection,
    draw_differences_in_share,
    draw_shares,
    shared_maps,
    shared_sentence,
)
from depthweave.reports.store.records import Record
from tests.reports.confirmed import PAIR
from tests.reports.irregular import Sites, wiring_text
from tests.reports.synthetic import make_record


def _record(trial: int, sites: Sites, *, perplexity: float, latency: float, **changes: Any) -> Record:
    values = {"fusion": "dwa" if sites else "none", "dilation": None, "period": None, "depth": 3, **changes}
    if values.get("state", "complete") == "complete":
        values |= {"perplexity": perplexity, "loss": math.log(perplexity)}
    else:
        values |= {"perplexity": None, "loss": None, "bits_per_byte": None}
    return make_record(trial, wiring=wiring_text(sites), latency=latency, **values)


def _few() -> list[Record]:
    """Plain, two members, a twin of the last one, and three others; the last one says nothing of its wiring."""
    return [
        _record(0, [], perplexity=5.0, latency=1.0, reference=True),
        _record(1, [(3, [0, 3])], perplexity=4.5, latency=1.1),
        _record(2, [(2, [0, 2]), (3, [0, 3])], perplexity=4.0, latency=1.2),
        _record(3, [(1, [0, 1]), (2, [0, 2]), (3, [0, 3])], perplexity=3.999, latency=1.205),
        _record(4, [(2, [0, 2])], perplexity=6.0, latency=1.3),
        _record(5, [(3, [1, 3])], perplexity=6.0, latency=1.3, state="pruned"),
        _record(6, [(3, [2, 3])], perplexity=6.0, latency=1.3, state="failed"),
    ]


def _many() -> list[Record]:
    """Five members read state 0 after block 3, and none of 20 others does: these read state 1."""
    members = [
        _record(number, [(3, [0, 3])], perplexity=5.0 - 0.2 * number, latency=1.0 + 0.1 * number) for number in range(5)
    ]
    return members + [_record(number, [(3, [1, 3])], perplexity=6.0, latency=1.5) for number in range(5, 25)]


def _view(records: list[Record]) -> RunView:
    return RunView.of(records, objectives=PAIR)


def test_shares_count_distinct_members_and_all_that_were_trained() -> None:
    (data,) = shared_maps(_view(_few()))
    # The twin counts among those tried alone, the failed trial nowhere.
    assert (data.depth, data.num_members, data.num_tried) == (3, 3, 6)
    assert data.connections == [
        SharedConnection(1, 0, 0, 1, None),
        SharedConnection(2, 0, 1, 3, None),
        SharedConnection(3, 0, 2, 3, None),
        SharedConnection(3, 1, 0, 1, None),
    ]
    # Of three members among six, even a connection of these three alone has 2 / 20.
    assert data.num_tests == 0
    assert shared_sentence(data) == (
        "3 blocks: 3 distinct front members among 6 architectures tried. Too few to say: with these counts no "
        "connection could pass (Fisher's exact test of members against the others at 5 %, corrected by Tarone and "
        "Holm)."
    )


def test_a_connection_of_all_members_and_of_no_other_passes() -> None:
    (data,) = shared_maps(_view(_many()))
    p = 2 / math.comb(25, 5)
    assert data.connections == [
        SharedConnection(3, 0, 5, 5, p),
        SharedConnection(3, 1, 0, 20, p),
    ]
    assert "Of 2 connections, members have 1 more and 1 less often than the others: a dot marks these" in (
        shared_sentence(data)
    )
    cells, dots = draw_differences_in_share(data).data
    assert list(zip(dots.x, dots.y, strict=True)) == [(0, 3), (1, 3)]
    assert list(cells.z[2][:2]) == pytest.approx([1 - 5 / 25, 0 - 20 / 25])


def test_a_connection_that_all_have_is_not_tested() -> None:
    (data,) = shared_maps(_view([record for record in _many() if record.trial < 5]))
    assert [item.p for item in data.connections] == [None]
    assert "Too few to say" in shared_sentence(data)


def test_architectures_that_differ_in_fusion_alone_are_two_and_seeds_are_one() -> None:
    both = [
        _record(0, [(3, [0, 3])], perplexity=4.0, latency=1.0),
        _record(1, [(3, [0, 3])], perplexity=5.0, latency=1.2, fusion="dwatt"),
        _record(2, [(3, [0, 3])], perplexity=4.1, latency=1.0, seed=1, architecture_id=make_record(0).architecture_id),
    ]
    (data,) = shared_maps(_view(both))
    assert (data.num_members, data.num_tried) == (1, 2)


def test_each_depth_has_its_own_map_and_may_be_without_members() -> None:
    deep = _record(9, [(4, [0, 4])], perplexity=7.0, latency=2.0, depth=4)
    maps = shared_maps(_view([*_few(), deep]))
    assert [(data.depth, data.num_members) for data in maps] == [(3, 3), (4, 0)]


def test_plain_architectures_alone_have_no_map() -> None:
    assert shared_maps(_view([record for record in _few() if record.fusion == "none"])) == []
    assert shared_maps(_view([])) == []


def test_shares_are_drawn_in_their_cells_with_both_counts() -> None:
    (data,) = shared_maps(_view(_few()))
    (cells,) = draw_shares(data).data
    assert list(cells.z[0]) == [0.0, None, None]
    assert list(cells.z[2]) == [pytest.approx(2 / 3), 0.0, None]
    assert cells.text[2][0].split("<br>") == [
        "The site after block 3 reads the embedding",
        "2 of 3 front members (67 %)",
        "3 of 6 tried (50 %)",
        "too few to test",
    ]
    (differences,) = draw_differences_in_share(data).data
    assert list(differences.z[2]) == [pytest.approx(2 / 3 - 3 / 6), pytest.approx(-1 / 6), None]
