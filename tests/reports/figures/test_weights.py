"""The heat map holds the last weights, in their places."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthweave.reports.figures.states import cosines_data, draw_cosines, norms_of
from depthweave.reports.figures.weights import (
    draw_weight_courses,
    draw_weight_map,
    symmetric_log,
    times_norms,
    weight_courses,
    weight_map,
)
from depthweave.reports.store.arrow_rows import schema_of, to_table
from depthweave.reports.store.records import WeightRow
from tests.reports.synthetic import make_record, make_weights

RECORD = make_record(2)
ROWS = make_weights(RECORD)
TABLE = to_table([*ROWS, *make_weights(make_record(3))], row_class=WeightRow)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_symmetric_log_is_odd_and_rises(one: float, other: float) -> None:
    assert symmetric_log(-one) == -symmetric_log(one)
    if one < other:
        assert symmetric_log(one) <= symmetric_log(other)


def test_symmetric_log_by_hand() -> None:
    assert symmetric_log(0.0) == 0.0
    assert symmetric_log(0.01) == pytest.approx(math.log(2))
    assert symmetric_log(-0.99) == pytest.approx(-math.log(100))


def test_weights_times_norms_scale_each_column_by_its_own_state() -> None:
    data = weight_map(TABLE, trial=2)
    assert data is not None
    scaled = times_norms(data, [10.0**source for source in range(13)])
    for own, other in zip(data.values, scaled.values, strict=True):
        for source, (value, found) in enumerate(zip(own, other, strict=True)):
            assert found == (None if value is None else pytest.approx(value * 10.0**source))
    assert draw_weight_map(scaled, title="weight × norm").data[0].colorbar.title.text == "weight × norm"


def test_cosines_of_each_record_that_has_them_are_shown_once() -> None:
    woven = make_record(1, input_cosines="[1.0, 0.5]", state_norms="[1.0, 2.0, 3.0]")
    plain = make_record(0, fusion="none", input_cosines="[1.0, 0.8]")
    data = cosines_data([woven, plain, make_record(2)], plain=[plain])
    assert [(line.trial, line.cosines) for line in data] == [(0, [1.0, 0.8]), (1, [1.0, 0.5])]
    assert [list(trace.y) for trace in draw_cosines(data).data] == [[1.0, 0.8], [1.0, 0.5]]
    assert norms_of(woven) == [1.0, 2.0, 3.0]
    assert norms_of(plain) is None


def test_weight_map_holds_the_last_weights_of_its_trial() -> None:
    data = weight_map(TABLE, trial=2)
    assert data is not None
    assert (data.sites, data.sources) == (list(range(1, 11)), list(range(11)))
    last = {(row.site, row.source): row.value for row in ROWS if row.tokens == data.tokens}
    # 4x5 on 12 blocks reads {1, 5} after block 5 and {2, 6, 10} after block 10.
    assert set(last) == {(5, 1), (5, 5), (10, 2), (10, 6), (10, 10)}
    for row, site in zip(data.values, data.sites, strict=True):
        assert row == [last.get((site, source)) for source in data.sources]


def test_weight_map_without_weights_is_none() -> None:
    assert weight_map(TABLE, trial=9) is None
    assert weight_map(schema_of(WeightRow).empty_table(), trial=2) is None


def test_weight_courses_by_kind_in_order_of_tokens() -> None:
    courses = weight_courses(TABLE, trial=2)
    kinds = {(course.site, course.source): course.kind for course in courses}
    assert kinds[10, 10] == "own block"
    assert kinds[10, 2] == "earlier block"
    full = weight_courses(to_table(make_weights(make_record(1, wiring="[[1, [0, 1]]]")), row_class=WeightRow), trial=1)
    assert [course.kind for course in full] == ["embedding", "own block"]
    for course in courses:
        assert course.tokens == sorted(course.tokens)
        expected = [row.value for row in ROWS if (row.site, row.source) == (course.site, course.source)]
        assert course.values == expected


def test_draw_weight_map_is_centred_at_zero() -> None:
    data = weight_map(TABLE, trial=2)
    assert data is not None
    (trace,) = draw_weight_map(data).data
    assert trace.zmid == 0
    assert trace.zmin == -trace.zmax
    assert trace.z[4][0] is None
    assert trace.z[4][5] == pytest.approx(symmetric_log(data.values[4][5] or 0))
    assert "0" in trace.colorbar.ticktext


def test_draw_weight_map_all_zero_draws() -> None:
    zero = [WeightRow(**{**_fields(ROWS[0]), "value": 0.0})]
    data = weight_map(to_table(zero, row_class=WeightRow), trial=2)
    assert data is not None
    draw_weight_map(data).to_json()


def test_draw_weight_courses_one_trace_a_kind() -> None:
    figure = draw_weight_courses(weight_courses(TABLE, trial=2))
    assert [trace.name for trace in figure.data] == ["own block", "earlier block"]
    draw_weight_courses([]).to_json()


def _fields(row: WeightRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in WeightRow.__dataclass_fields__}
