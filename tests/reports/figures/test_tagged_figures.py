"""The figures of heads on a host: means and intervals by hand, pairs by draw, rows and columns in their places."""

from __future__ import annotations

import dataclasses
import math
from statistics import stdev
from typing import Any

import plotly.graph_objects as go
import pytest

from depthweave.reports.figures.few_shot_scores import (
    draw_score_differences,
    draw_scores,
    score_differences,
    score_lines,
)
from depthweave.reports.figures.layer_weights import ALL_WORDS, draw_layer_map, head_map, type_map
from depthweave.reports.figures.palette import HEAD_COLOURS, colour_of, template
from depthweave.reports.figures.standalone import run_figures
from depthweave.reports.figures.step_scores import draw_step_scores, highest_f1, step_lines
from depthweave.reports.figures.tagged_trials import HEADS, best_of_heads, tagged_trials
from depthweave.reports.store.run_store import RunStore
from tests.reports.synthetic import make_record
from tests.reports.tagged import SHOTS, TYPES, Score, Weight, tagged_record, tagged_records


def _scores(values: dict[int, list[float]], *, step: int = 300) -> tuple[Score, ...]:
    """Returns the F1 of each draw by size."""
    return tuple(
        Score(shots=shots, draw=draw, step=step, f1=f1) for shots, own in values.items() for draw, f1 in enumerate(own)
    )


def test_records_of_other_tasks_have_no_scores() -> None:
    assert tagged_trials([make_record(0)]) == []


def test_last_step_of_each_draw_counts() -> None:
    scores = (*_scores({50: [0.1, 0.1]}, step=100), *_scores({50: [0.3, 0.5]}))
    (line,) = score_lines(best_of_heads(tagged_trials([tagged_record(1, head="mix", scores=scores)])))
    (point,) = line.points
    assert point.f1.mean == pytest.approx(0.4)
    assert point.f1.half_width == pytest.approx(12.706 * stdev([0.3, 0.5]) / math.sqrt(2))


def test_best_architecture_of_each_head_is_shown_in_one_order() -> None:
    records = [
        tagged_record(number, head=head, scores=_scores({50: [f1]}), architecture_id=f"a{number}")
        for number, (head, f1) in enumerate([("own", 0.2), ("dwatt", 0.3), ("dwatt", 0.4), ("last", 0.1)])
    ]
    best = best_of_heads(tagged_trials(records))
    assert [(it.head, it.f1) for it in best] == [("last", 0.1), ("dwatt", 0.4), ("own", 0.2)]


def test_stopped_trials_are_left_out() -> None:
    stopped = tagged_record(1, head="mix", scores=_scores({50: [0.9]}), state="pruned", loss=None)
    assert tagged_trials([stopped]) == []


def test_fresh_seeds_replace_that_of_the_search() -> None:
    search = tagged_record(1, head="mix", scores=_scores({50: [0.9, 0.9]}))
    fresh = [
        tagged_record(1_000_000 + seed, head="mix", seed=seed, scores=_scores({50: [0.1 * seed]})) for seed in (1, 2, 3)
    ]
    other = tagged_record(2, head="mix", scores=_scores({50: [0.8]}), architecture_id="other")
    (best,) = best_of_heads(tagged_trials([search, *fresh, other]))
    (line,) = score_lines([best])
    assert (line.points[0].f1.num, line.points[0].f1.mean) == (3, pytest.approx(0.2))


def test_differences_are_paired_by_draw() -> None:
    deeper = tagged_record(1, head="deeper", scores=_scores({50: [0.1, 0.3], 100: [0.2, 0.2]}))
    mix = tagged_record(2, head="mix", scores=_scores({50: [0.2, 0.41], 400: [0.5, 0.5]}))
    data = score_differences(best_of_heads(tagged_trials([deeper, mix])))
    assert data is not None
    assert data.baseline == "deeper"
    (line,) = data.lines
    # The sizes that both have; the wide spread between draws is gone.
    assert [point.shots for point in line.points] == [50]
    assert line.points[0].f1.mean == pytest.approx(0.105)
    assert line.points[0].f1.half_width == pytest.approx(12.706 * stdev([0.1, 0.11]) / math.sqrt(2))


def test_draws_of_other_seeds_are_no_pair() -> None:
    deeper = tagged_record(1, head="deeper", seed=0, scores=_scores({50: [0.1]}))
    mix = tagged_record(2, head="mix", seed=1, scores=_scores({50: [0.2]}))
    assert score_differences(best_of_heads(tagged_trials([deeper, mix]))) is None


def test_last_is_the_baseline_without_deeper() -> None:
    records = [it for it in tagged_records() if it.fusion in ("last", "mix")]
    data = score_differences(best_of_heads(tagged_trials(records)))
    assert data is not None
    assert (data.baseline, [line.head for line in data.lines]) == ("last", ["mix"])
    assert score_differences(best_of_heads(tagged_trials([it for it in records if it.fusion == "mix"]))) is None


def test_drawn_scores_are_percent_with_bars_beside_each_other() -> None:
    best = best_of_heads(tagged_trials(tagged_records()))
    figure = draw_scores(score_lines(best))
    assert [trace.name for trace in figure.data] == list(HEADS)
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == list(SHOTS)
    first, *_, last = figure.data
    assert first.x[0] < 50 < last.x[0] < 100 * 0.8
    wanted = score_lines(best)[0].points[0].f1
    assert wanted.half_width is not None
    assert first.y[0] == pytest.approx(100 * wanted.mean)
    assert first.error_y.array[0] == pytest.approx(100 * wanted.half_width)
    assert "50 shots, 3 draws" in first.text[0]
    data = score_differences(best)
    assert data is not None
    drawn = draw_score_differences(data)
    assert [trace.name for trace in drawn.data] == [name for name in HEADS if name != "deeper"]
    assert "+" in drawn.data[-1].text[0]


def test_one_size_and_one_draw_can_be_drawn() -> None:
    best = best_of_heads(tagged_trials([tagged_record(1, head="mix", scores=_scores({50: [0.2]}))]))
    figure = draw_scores(score_lines(best))
    assert list(figure.data[0].x) == [50]
    assert list(figure.data[0].error_y.array) == [0.0]
    assert "(" not in figure.data[0].text[0].split("<br>")[-1]


def test_wide_intervals_do_not_squeeze_the_means() -> None:
    records = [
        tagged_record(1, head="deeper", scores=_scores({50: [0.2, 0.3]})),
        tagged_record(2, head="mix", scores=_scores({50: [0.0, 0.8]})),
    ]
    best = best_of_heads(tagged_trials(records))
    low, high = draw_scores(score_lines(best)).layout.yaxis.range
    # The means are 25 and 40 %, the interval of mix is wider than all percentages.
    assert (low, high) == (0.0, pytest.approx(40 + 15 + 0.6))
    data = score_differences(best)
    assert data is not None
    low, high = draw_score_differences(data).layout.yaxis.range
    assert (low, high) == (pytest.approx(-15 - 0.6), pytest.approx(30 + 0.6))


def test_names_of_heads_are_escaped() -> None:
    best = best_of_heads(tagged_trials([tagged_record(1, head="<b>", scores=_scores({50: [0.2]}))]))
    assert draw_scores(score_lines(best)).data[0].name == "&lt;b&gt;"


def test_courses_are_means_over_draws_at_each_step() -> None:
    scores = (*_scores({50: [0.1, 0.3]}, step=100), *_scores({50: [0.5, 0.6]}, step=200))
    best = best_of_heads(tagged_trials([tagged_record(1, head="mix", scores=scores)]))
    (line,) = step_lines(best, shots=50)
    assert line.steps == [100, 200]
    assert [it.mean for it in line.f1] == pytest.approx([0.2, 0.55])
    assert highest_f1(best) == pytest.approx(0.55)
    figure = draw_step_scores([line], highest=highest_f1(best))
    assert list(figure.data[0].y) == pytest.approx([20.0, 55.0])
    assert figure.layout.yaxis.range[1] == pytest.approx(58.3)
    assert step_lines(best, shots=100) == []


def test_one_evaluation_is_no_course() -> None:
    best = best_of_heads(tagged_trials([tagged_record(1, head="mix", scores=_scores({50: [0.1, 0.3]}))]))
    assert step_lines(best, shots=50) == []


def test_layers_are_means_over_draws_with_gaps_where_none_is_read() -> None:
    weights = [
        Weight(shots=50, draw=draw, type=name, layer=layer, weight=value + 0.1 * draw)
        for draw in (0, 1)
        for name, values in {"": {2: 0.2, 4: 0.7}, "person": {2: 0.1, 4: 0.8}}.items()
        for layer, value in values.items()
    ]
    trials = [
        tagged_record(1, head="dwatt", scores=_scores({50: [0.2, 0.3]}), weights=tuple(weights)),
        tagged_record(2, head="last", scores=_scores({50: [0.1, 0.1]})),
    ]
    best = best_of_heads(tagged_trials(trials))
    heads = head_map(best, shots=50)
    assert heads is not None
    assert (heads.rows, heads.layers) == (["dwatt"], [0, 1, 2, 3, 4])
    assert heads.values == [[None, None, pytest.approx(0.25), None, pytest.approx(0.75)]]
    types = type_map(best[1], shots=50)
    assert types is not None
    assert types.rows == [ALL_WORDS, "person"]
    assert types.values[1][4] == pytest.approx(0.85)
    assert head_map(best, shots=100) is None
    assert type_map(best[0], shots=50) is None


@pytest.mark.parametrize("layers", [7, 13, 25])
def test_layer_map_has_numbers_where_they_fit_and_colours_of_rows(layers: int) -> None:
    best = best_of_heads(tagged_trials(tagged_records(draws=1, layers=layers)))
    heads = head_map(best, shots=50)
    assert heads is not None
    figure = draw_layer_map(heads, by_row=True)
    (trace,) = figure.data
    assert bool(trace.texttemplate) is (layers < 25)
    assert figure.layout.meta["narrow_text"] is (layers == 7)
    assert len(figure.layout.xaxis.tickvals) <= 13
    assert all(max(map(abs, row)) == 1.0 for row in trace.z)
    assert min(trace.z[1]) < 0, "weights of dwa"
    assert trace.customdata[1][0][2] == f"{heads.values[1][0]:.3f}"
    types = type_map(best[-1], shots=50)
    assert types is not None
    assert types.rows == [ALL_WORDS, *TYPES]
    common = draw_layer_map(types, by_row=False).data[0]
    assert sum(max(row) == 1.0 for row in common.z) == 1
    # Both schemes take it.
    for dark in (False, True):
        assert go.Figure(figure, layout={"template": template(dark=dark)}).layout.template


def test_heads_have_distinct_colours() -> None:
    colours = [colour_of(head) for head in HEADS]
    assert len(set(colours)) == len(HEADS)
    assert set(HEAD_COLOURS) == {"last", "deeper", "mix"}


def test_figures_of_heads_are_files_too(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    records: list[Any] = tagged_records()
    monkeypatch.setattr(RunStore, "records", lambda self: [dataclasses.replace(it, depth=6) for it in records])
    figures = run_figures(store)
    names = {"few-shot-scores", "few-shot-differences"} | {f"{kind}-{n}" for kind in ("steps", "layers") for n in SHOTS}
    assert names | {f"layers-dwatt-{n}" for n in SHOTS} <= set(figures)
    assert all(figures[name].layout.width == 620 for name in names)
