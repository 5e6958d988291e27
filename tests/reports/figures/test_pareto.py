"""The figure's data against the records they came from, and the drawing against its data."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.figures import thinning
from depthweave.reports.figures.palette import colour_of, symbol_of
from depthweave.reports.figures.pareto import draw_pareto
from depthweave.reports.figures.pareto_points import HEIGHT_PX, pareto_data
from tests.reports.confirmed import PAIR, confirmed_records
from tests.reports.synthetic import make_record, synthetic_trials

RECORDS = [trial.record for trial in synthetic_trials()]


def test_pareto_roles_follow_front_and_state() -> None:
    data = pareto_data(RECORDS, cost="latency")
    roles = {point.trial: point.role for point in data.points}
    members = {row.trial for row in front(RECORDS, objectives=("perplexity", "latency"))}
    assert {trial for trial, role in roles.items() if role == "front"} == members
    assert {trial for trial, role in roles.items() if role == "stopped early"} == {
        row.trial for row in RECORDS if row.state == "pruned"
    }
    assert not {27, 31} & set(roles)


def test_pareto_stopped_stand_at_their_last_loss() -> None:
    data = pareto_data(RECORDS, cost="latency")
    stopped = {point.trial: point for point in data.points if point.role == "stopped early"}
    assert stopped[5].y == pytest.approx(math.exp(RECORDS[5].last_loss or 0))
    assert "stopped early" in stopped[5].hover
    assert data.num_above == sum(1 for point in data.points if point.y > data.y_range[1])


def test_pareto_step_encloses_what_the_front_dominates() -> None:
    data = pareto_data(RECORDS, cost="latency")
    members = sorted((point.x, point.y) for point in data.points if point.role == "front")
    assert set(members) <= set(data.step)
    for (x0, y0), (x1, y1) in itertools.pairwise(data.step):
        # Every stretch is level or upright, and the line goes right and down.
        assert (x0 == x1) != (y0 == y1)
        assert x1 >= x0
        assert y1 <= y0
    assert data.step[0][1] == data.y_range[1]
    assert data.step[-1][0] == data.x_range[1]


def test_pareto_units_are_for_people() -> None:
    data = pareto_data(RECORDS, cost="memory_bytes")
    assert data.x_title == "memory of a training step (MiB)"
    assert data.points[0].x == pytest.approx((RECORDS[0].memory_bytes or 0) / 2**20)


def test_pareto_labels_meet_no_label_point_or_line() -> None:
    data = pareto_data(RECORDS, cost="latency")
    width, height = 880.0, HEIGHT_PX - 88

    def pixels(x: float, y: float) -> tuple[float, float]:
        (x0, x1), (y0, y1) = data.x_range, data.y_range
        return (x - x0) / (x1 - x0) * width, (y - y0) / (y1 - y0) * height

    boxes = []
    for label in data.labels:
        x, y = pixels(label.x, label.y)
        half = len(label.text) * 3.3
        x, y = x + label.x_shift_px, y + label.y_shift_px
        boxes.append((x - half, y - 7, x + half, y + 7))
    assert len(boxes) >= 10
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for box in boxes:
        for point in data.points:
            x, y = pixels(point.x, point.y)
            assert not (box[0] < x < box[2] and box[1] < y < box[3])
        for begin, end in itertools.pairwise(data.step):
            (x0, y0), (x1, y1) = pixels(*begin), pixels(*end)
            apart = max(x0, x1) < box[0] or min(x0, x1) > box[2] or max(y0, y1) < box[1] or min(y0, y1) > box[3]
            assert apart


def test_pareto_reference_off_the_front_has_its_label() -> None:
    records = [make_record(0, reference=True, perplexity=5.0, latency=1.2), make_record(1), make_record(2)]
    assert "dwa 4×5, reference" in [label.text for label in pareto_data(records, cost="latency").labels]


def test_pareto_missing_cost_is_counted() -> None:
    data = pareto_data([make_record(0), make_record(1, latency=None)], cost="latency")
    assert [point.trial for point in data.points] == [0]
    assert data.num_without == 1


def test_pareto_many_faint_ones_are_thinned_the_front_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "MAX_FAINT_POINTS", 6)
    whole, data = front(RECORDS, objectives=("perplexity", "latency")), pareto_data(RECORDS, cost="latency")
    assert {point.trial for point in data.points if point.role == "front"} == {row.trial for row in whole}
    assert sum(1 for point in data.points if point.role != "front") <= 6
    assert data.num_thinned == 30 - len(data.points)
    assert any(point.reference for point in data.points)


def test_pareto_other_loss_leaves_stopped_ones_out() -> None:
    data = pareto_data(RECORDS, cost="latency", quality="bits_per_byte")
    assert {point.role for point in data.points} == {"front", "dominated"}
    assert data.y_title == "validation loss (bit/byte)"


@pytest.mark.parametrize("count", [0, 1])
def test_pareto_of_little_draws(count: int) -> None:
    data = pareto_data(RECORDS[:count], cost="latency")
    assert len(data.points) == count
    assert all(low < high for low, high in (data.x_range, data.y_range))
    draw_pareto(data).to_json()


def test_draw_pareto_colours_by_fusion_marks_by_period() -> None:
    data = pareto_data(RECORDS, cost="latency")
    figure = draw_pareto(data)
    drawn = {trace.name: trace for trace in figure.data}
    dwa = [point for point in data.points if point.role == "front" and point.fusion == "dwa"]
    assert set(drawn["dwa"].marker.color) == {colour_of("dwa")}
    assert list(drawn["dwa"].marker.symbol) == [symbol_of(point.marker) for point in dwa]
    assert list(drawn["front"].x) == [x for x, _ in data.step]
    (reference,) = (point for point in data.points if point.reference)
    assert (drawn["reference"].x[0], drawn["reference"].y[0]) == (reference.x, reference.y)
    assert drawn["dominated"].marker.opacity < drawn["dwa"].marker.opacity == 1
    assert max(drawn["stopped early"].y) <= data.y_range[1]
    assert drawn["dwa"].error_x.array[0] == pytest.approx(0.015)


def test_hover_names_every_parameter_and_escapes() -> None:
    record = make_record(0, architecture_id="<b>&")
    (point,) = pareto_data([record], cost="latency").points
    for text in ("dwa 4×5, 12 blocks", "&lt;b&gt;&amp;", "seed 0", "4.000", "1.10×", "52.0 MiB", "600 k", "width 64"):
        assert text in point.hover


def test_confirmed_architecture_is_one_point_with_the_interval_of_its_mean() -> None:
    records = confirmed_records()
    verdicts = verdicts_of(records, objectives=PAIR)
    data = pareto_data(records, cost="latency", verdicts=verdicts)
    assert [point.trial for point in data.points] == [0, 1, 2, 3]
    close = data.points[2]
    assert close.y == pytest.approx(math.exp(statistics.fmean([1.40, 1.205, 1.34, 1.275, 1.325])))
    assert (close.y_low, close.y_high) == (verdicts["close"].perplexity_low, verdicts["close"].perplexity_high)
    assert data.points[3].y_low is None
    assert data.y_range[0] < min(point.y_low for point in data.points if point.y_low is not None)

    traces = [trace for trace in draw_pareto(data).data if trace.error_y.array]
    bars = {x: y for trace in traces for x, y in zip(trace.x, trace.error_y.array, strict=True)}
    assert close.y_high is not None
    assert bars[close.x] == pytest.approx(close.y_high - close.y)


def test_unsettled_member_is_hollow_and_says_so() -> None:
    records = confirmed_records()
    data = pareto_data(records, cost="latency", verdicts=verdicts_of(records, objectives=PAIR))
    shown = {
        x: mark
        for trace in draw_pareto(data).data
        if trace.error_y.array
        for x, mark in zip(trace.x, trace.marker.symbol, strict=True)
    }
    assert {point.trial: shown[point.x].endswith("-open") for point in data.points if point.role == "front"} == {
        0: False,
        1: True,
        2: False,
    }
    assert "not settled" in data.points[1].hover
    assert "mean of 5 fresh seeds" in data.points[1].hover


def test_without_verdicts_no_point_has_a_vertical_bar() -> None:
    data = pareto_data([trial.record for trial in synthetic_trials()], cost="latency")
    assert all(point.y_low is None and point.settled for point in data.points)
    assert not any(trace.error_y.array for trace in draw_pareto(data).data)
