"""Learning curves as they were recorded, stops marked where they happened."""

from __future__ import annotations

import pytest

from depthweave.reports.figures import curves
from depthweave.reports.figures.curves import curves_data, draw_curves
from depthweave.reports.store.arrow_rows import schema_of, to_table
from depthweave.reports.store.records import EvaluationRow
from tests.reports.synthetic import make_record, make_trial, synthetic_trials

TRIALS = synthetic_trials()
RECORDS = [trial.record for trial in TRIALS]
TABLE = to_table([row for trial in TRIALS for row in trial.evaluations], row_class=EvaluationRow)


def test_curves_equal_their_evaluations() -> None:
    data = curves_data(RECORDS, evaluations=TABLE, on_front={0, 1})
    by_trial = {curve.trial: curve for curve in data.curves}
    assert by_trial[3].losses == [row.loss for row in TRIALS[3].evaluations]
    assert by_trial[3].tokens == [row.tokens for row in TRIALS[3].evaluations]
    assert [curve.trial for curve in data.curves if curve.on_front] == [0, 1]
    assert 31 not in by_trial  # Failed before its first evaluation.


def test_curves_not_finite_loss_is_left_out() -> None:
    data = curves_data(RECORDS, evaluations=TABLE, on_front=set())
    (diverged,) = (curve for curve in data.curves if curve.state == "diverged")
    assert len(diverged.losses) == len(TRIALS[27].evaluations) - 1


def test_curves_range_leaves_the_first_fall_out() -> None:
    data = curves_data(RECORDS, evaluations=TABLE, on_front=set())
    low, high = data.y_range
    assert low < min(min(curve.losses) for curve in data.curves)
    assert max(curve.losses[-1] for curve in data.curves) < high < max(curve.losses[0] for curve in data.curves)


def test_curves_many_faint_ones_are_thinned_the_front_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_MAX_FAINT_CURVES", 5)
    data = curves_data(RECORDS, evaluations=TABLE, on_front={1, 2, 3})
    assert {curve.trial for curve in data.curves if curve.on_front} == {1, 2, 3}
    assert sum(1 for curve in data.curves if not curve.on_front) <= 5
    assert data.num_left_out == 31 - len(data.curves)


def test_draw_curves_marks_each_stop_at_its_end() -> None:
    data = curves_data(RECORDS, evaluations=TABLE, on_front={0})
    figure = draw_curves(data)
    (stops,) = (trace for trace in figure.data if trace.name == "stopped")
    stopped = [curve for curve in data.curves if curve.state in ("pruned", "diverged")]
    assert list(zip(stops.x, stops.y, strict=True)) == [(it.tokens[-1], it.losses[-1]) for it in stopped]


def test_draw_curves_of_nothing_and_of_one_point() -> None:
    draw_curves(curves_data([], evaluations=schema_of(EvaluationRow).empty_table(), on_front=set())).to_json()
    trial = make_trial(make_record(0, tokens=50_000))
    table = to_table(trial.evaluations, row_class=EvaluationRow)
    data = curves_data([trial.record], evaluations=table, on_front=set())
    assert data.y_range[0] < trial.evaluations[0].loss < data.y_range[1]
