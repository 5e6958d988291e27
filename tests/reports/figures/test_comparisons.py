"""Tables and figures that compare patterns: each cell is what the records say, by hand."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.seeds import averaged
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.figures.differences import differences_data, differences_sentence, draw_differences
from depthweave.reports.figures.grid import Cell, Grid
from depthweave.reports.figures.importance import importance_grid, importance_of
from depthweave.reports.figures.matched import at_equal_latency, at_equal_parameters, at_equal_time
from depthweave.reports.figures.parallel import draw_parallel, parallel_data
from depthweave.reports.figures.patterns import pattern_grids
from depthweave.reports.figures.timeline import draw_timeline, timeline_data, timeline_sentence
from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.records import EvaluationRow, Record
from tests.reports.confirmed import PAIR, confirmed_records, seeded
from tests.reports.sized import dwa, sized_records
from tests.reports.synthetic import BEGIN, OBJECTIVES, make_record, synthetic_trials

RECORDS = [trial.record for trial in synthetic_trials()]


def _at(trial: int, loss: float, **changes: Any) -> Record:
    return make_record(
        trial, architecture_id=f"a{trial}", loss=loss, perplexity=math.exp(loss), last_loss=loss, **changes
    )


def _plain(trial: int, loss: float, **changes: Any) -> Record:
    return _at(trial, loss, fusion="none", dilation=None, period=None, wiring="[]", **changes)


def _cell(grid: Grid | None, row: str, column: str) -> Cell:
    assert grid is not None
    return next(it for it in grid.rows if it.name == row).cells[grid.columns.index(column)]


def test_patterns_by_hand() -> None:
    records = [
        _plain(0, 1.5),
        _at(1, 1.4, dilation=1, period=1),
        _at(2, 1.55, dilation=2, period=1),
        _at(3, 1.45, dilation=1, period=4, state="pruned"),
        _at(4, 1.3, dilation=1, period=1, depth=6),
    ]
    shallow, deep = pattern_grids(records)
    assert (shallow.title, deep.title) == ("dwa, 6 blocks", "dwa, 12 blocks")
    # No plain one of 6 blocks: a number, and nothing to colour it by.
    assert (_cell(shallow, "p 1", "k 1").text, _cell(shallow, "p 1", "k 1").share) == ("3.669", None)
    assert _cell(deep, "p 1", "k 1")[:3] == ("4.055", pytest.approx(-1.0), "-0.100")
    assert _cell(deep, "p 1", "k 2").share == pytest.approx(0.5)
    assert _cell(deep, "p 4", "k 1").text == "stopped"
    assert _cell(deep, "p 4", "k 2").text == ""


def test_equal_parameters_has_the_best_pattern_and_its_paired_difference() -> None:
    records = [
        *seeded("plain", {0: 1.49, 1: 1.50, 2: 1.60}, trial=0, fusion="none", dilation=None, period=None),
        *seeded("good", {0: 1.2, 1: 1.40, 2: 1.49}, trial=1, dilation=1, period=4),
        *seeded("bad", {0: 1.5, 1: 1.55, 2: 1.66}, trial=2),
    ]
    grid = at_equal_parameters(averaged(records), verdicts=verdicts_of(records, objectives=PAIR))
    cell = _cell(grid, "dwa", "12 blocks, 600 k")
    assert cell.text == f"{math.exp(1.445):.3f}, 1×4"
    assert cell.more.startswith("-0.105 (")
    assert cell.share is not None
    assert _cell(grid, "none", "12 blocks, 600 k").more == ""


def test_equal_latency_takes_only_what_is_fast_enough() -> None:
    records = [_plain(0, 1.5, latency=1.0), _at(1, 1.4, latency=1.3), _at(2, 1.45, latency=1.1)]
    grid = at_equal_latency(records)
    assert grid is not None
    assert _cell(grid, "dwa", grid.columns[0]).text == ""
    assert _cell(grid, "dwa", grid.columns[-1]).text == f"{math.exp(1.4):.3f}"
    middle = next(head for head in grid.columns if 1.1 <= float(head.removesuffix("×")) < 1.3)
    assert _cell(grid, "dwa", middle).text == f"{math.exp(1.45):.3f}"
    for head in grid.columns:
        assert _cell(grid, "none", head).text == f"{math.exp(1.5):.3f}"


def test_equal_time_reads_a_slower_one_earlier_on_its_curve() -> None:
    records = [_plain(0, 1.0, step_latency=1.0), _at(1, 0.9, step_latency=2.0), _at(2, 0.9, step_latency=None)]
    curve = {100_000: 4.0, 200_000: 3.0, 300_000: 2.0, 400_000: 1.0}
    rows = [
        EvaluationRow(
            run_id="r", trial=trial, architecture_id="a", seed=0, index=0, step=1, tokens=tokens, loss=loss,
            train_loss=None, bits_per_byte=1.0, train_s=1.0, evaluation_s=0.0,
        )
        for trial in range(3)
        for tokens, loss in curve.items()
    ]  # fmt: skip
    grid = at_equal_time(records, evaluations=to_table(rows, row_class=EvaluationRow))
    assert [_cell(grid, "none", head).text for head in ("25 %", "50 %", "100 %")] == ["4.000", "3.000", "1.000"]
    # Twice as slow: at 100 % of the reference's time it has seen half of its tokens, at 25 % not one evaluation.
    assert [_cell(grid, "dwa", head).text for head in ("25 %", "50 %", "75 %", "100 %")] == [
        "",
        "4.000",
        "3.500",
        "3.000",
    ]


def test_one_fusion_is_not_compared_with_itself() -> None:
    assert at_equal_parameters([_at(0, 1.0)], verdicts={}) is None
    assert at_equal_latency([_at(0, 1.0)]) is None
    assert at_equal_time([], evaluations=to_table([], row_class=EvaluationRow)) is None


def test_differences_are_settled_with_five_seeds_and_an_interval_without_zero() -> None:
    seeds = range(1, 6)
    plain = {seed: 1.5 + 0.1 * seed for seed in seeds}
    records = [
        *seeded("plain", plain, trial=0, fusion="none", dilation=None, period=None),
        *seeded("better", {seed: plain[seed] - 0.1 + 0.001 * seed for seed in seeds}, trial=1),
        *seeded("same", {seed: plain[seed] + 0.01 * (-1) ** seed for seed in seeds}, trial=2),
        *seeded("few", {seed: plain[seed] - 0.2 + 0.001 * seed for seed in range(1, 4)}, trial=3),
    ]
    data = differences_data(averaged(records), verdicts=verdicts_of(records, objectives=PAIR))
    assert [(round(it.mean, 3), it.num_seeds, it.settled) for it in data] == [
        (-0.198, 3, False),
        (-0.097, 5, True),
        (-0.002, 5, False),
    ]
    assert all(it.low < it.mean < it.high for it in data)
    assert differences_sentence(data).startswith("Of 3 differences to plain, 1 is settled")
    assert "not settled" in differences_sentence([])
    symbols = [symbol for trace in draw_differences(data).data for symbol in trace.marker.symbol]
    assert symbols == ["circle-open", "circle", "circle-open"]


def test_differences_of_several_budgets_name_the_budget() -> None:
    records = sized_records({(6, 100_000): [(dwa(1, 1), -0.03)], (6, 400_000): [(dwa(1, 1), -0.02)]})
    data = differences_data(averaged(records), verdicts=verdicts_of(records, objectives=PAIR))
    assert [it.name for it in data] == ["dwa 1×1, 6 blocks, 100 k", "dwa 1×1, 6 blocks, 400 k"]


def test_difference_to_a_plain_training_that_diverged_is_not_settled() -> None:
    seeds = range(1, 6)
    plain = {seed: 1.5 + 0.1 * seed for seed in seeds}
    records = [
        *seeded("plain", plain, trial=0, fusion="none", dilation=None, period=None),
        *seeded("better", {seed: plain[seed] - 0.1 + 0.001 * seed for seed in seeds}, trial=1),
    ]
    verdicts = verdicts_of(records, objectives=PAIR)
    (settled,) = differences_data(averaged(records), verdicts=verdicts)
    assert settled.settled
    verdicts["plain"] = verdicts["plain"]._replace(num_diverged=1)
    (open_,) = differences_data(averaged(records), verdicts=verdicts)
    assert not open_.settled


def test_all_differences_are_counted_and_the_lowest_forty_drawn() -> None:
    seeds = range(1, 6)
    plain = {seed: 1.5 + 0.1 * seed for seed in seeds}
    records = seeded("plain", plain, trial=0, fusion="none", dilation=None, period=None)
    for number in range(45):
        losses = {seed: plain[seed] - 0.001 * number + 0.0001 * seed for seed in seeds}
        records += seeded(f"other{number}", losses, trial=number + 1)
    data = differences_data(averaged(records), verdicts=verdicts_of(records, objectives=PAIR))
    assert differences_sentence(data).startswith("Of 45 differences")
    assert sum(len(trace.x) for trace in draw_differences(data).data) == 40


def _planted(*, noise: float = 0.0, number: int = 160) -> list[Record]:
    """Variance shares by construction: depth 1, fusion 0.25, dilation a sixteenth, period none, in these units."""
    draw = np.random.default_rng(3)
    records = []
    for trial in range(number):
        depth, fusion = (6, 12)[draw.integers(2)], ("dwa", "dwatt")[draw.integers(2)]
        dilation, period = (1, 2)[draw.integers(2)], (1, 2, 4)[draw.integers(3)]
        loss = 3.0 + 1.0 * (depth == 12) + 0.5 * (fusion == "dwa") + 0.25 * (dilation == 1)
        loss += float(draw.normal(0, noise)) if noise else 0.0
        changes = {"perplexity": loss, "loss": math.log(loss), "depth": depth, "fusion": fusion}
        records.append(make_record(trial, architecture_id=f"a{trial}", dilation=dilation, period=period, **changes))
    return records


def test_importance_finds_planted_shares() -> None:
    found = importance_of(_planted(), objective="perplexity")
    assert found is not None
    assert "budget" not in found.shares
    total = 1 + 0.25 + 0.0625
    expected = {"depth": 1 / total, "fusion": 0.25 / total, "dilation": 0.0625 / total, "period": 0.0}
    for axis, share in expected.items():
        assert found.shares[axis] == pytest.approx(share, abs=0.08), axis
    assert found.explained > 0.98


def test_importance_of_pure_noise_is_not_shown() -> None:
    draw = np.random.default_rng(5)
    records = [make_record(it.trial, architecture_id=it.architecture_id, depth=it.depth, fusion=it.fusion,
                           dilation=it.dilation, period=it.period, perplexity=float(draw.normal(4.0, 0.1)))
               for it in _planted(number=60)]  # fmt: skip
    found = importance_of(records, objective="perplexity")
    assert found is not None
    assert found.explained < 0.2
    grid = importance_grid(records, objectives=("perplexity",))
    assert grid is not None
    assert {cell.text for row in grid.rows[:-1] for cell in row.cells} == {""}


def test_importance_sees_an_interaction_and_knows_no_dilation_without_fusion() -> None:
    records = []
    for trial in range(120):
        fusion, dilation = ("none", "dwa", "dwatt")[trial % 3], (1, 2)[(trial // 3) % 2]
        # Dilation matters, and only to dwatt.
        loss = 3.0 + (1.0 if fusion == "dwatt" and dilation == 1 else 0.0)
        plain = {"dilation": None, "period": None} if fusion == "none" else {"dilation": dilation, "period": 1}
        records.append(make_record(trial, architecture_id=f"a{trial}", fusion=fusion, perplexity=loss, **plain))
    found = importance_of(records, objective="perplexity")
    assert found is not None
    assert found.explained > 0.9
    assert found.shares["dilation"] > 0.3
    assert found.shares["fusion"] > 0.3


@pytest.mark.parametrize("single", ["hc2", "last"])
def test_importance_treats_every_fusion_with_one_wiring_as_it_treats_none(single: str) -> None:
    found = []
    for name in ("none", single):
        records = []
        for trial in range(60):
            fusion, dilation = (name, "zzz")[trial % 2], (1, 2)[(trial // 2) % 2]
            loss = 3.0 + (0.1 * dilation if fusion == "zzz" else 0.0)
            pattern = {"dilation": dilation, "period": 1} if fusion == "zzz" else {"dilation": None, "period": None}
            records.append(make_record(trial, architecture_id=f"a{trial}", fusion=fusion, perplexity=loss, **pattern))
        found.append(importance_of(records, objective="perplexity"))
    assert found[0] is not None
    assert found[1] is not None
    assert found[1].shares == pytest.approx(found[0].shares)


def test_importance_of_too_few_or_of_a_constant_is_none() -> None:
    assert importance_of(_planted(number=11), objective="perplexity") is None
    assert importance_of(_planted(), objective="latency") is None
    assert importance_grid([], objectives=OBJECTIVES) is None


def test_parallel_lines_stand_at_their_values() -> None:
    data = parallel_data(RECORDS, objectives=OBJECTIVES)
    titles = [it.title for it in data.axes]
    assert titles[:5] == ["fusion", "dilation", "period", "depth", "budget"]
    assert {line.trial for line in data.lines if not line.rank} == {
        it.trial for it in front(RECORDS, objectives=OBJECTIVES)
    }
    records = {it.trial: it for it in RECORDS}
    place = titles.index("validation perplexity")
    ordered = sorted(data.lines, key=lambda line: line.heights[place] or 0.0)
    perplexities = [records[line.trial].perplexity or 0.0 for line in ordered]
    assert perplexities == sorted(perplexities)
    assert (ordered[0].heights[place], ordered[-1].heights[place]) == (0.0, 1.0)
    draw_parallel(data).to_json()
    draw_parallel(parallel_data([], objectives=OBJECTIVES)).to_json()


def test_timeline_by_hand() -> None:
    def trial(number: int, begin: float, end: float, *, worked: float, host: str = "a") -> Record:
        return make_record(
            number,
            started_at=BEGIN + timedelta(seconds=begin),
            finished_at=BEGIN + timedelta(seconds=end),
            wall_s=worked,
            train_s=worked / 2,
            evaluation_s=worked / 4,
            measure_s=0.0,
            host=host,
        )

    records = [
        trial(0, 0, 10, worked=10),
        trial(1, 2, 12, worked=3),
        trial(2, 10, 20, worked=10),
        trial(3, 0, 20, worked=17, host="b"),
    ]
    data = timeline_data(records)
    assert {(it.trial, it.row, it.paused) for it in data.spans} == {
        (0, 0, False), (1, 1, True), (2, 0, False), (3, 2, False),
    }  # fmt: skip
    assert data.hosts == ["a", "a", "b"]
    assert data.mean_running == pytest.approx(2.0)
    assert data.shares == pytest.approx({"training": 0.5, "evaluating": 0.25, "measuring": 0.0, "other work": 0.25})
    assert timeline_sentence(data).startswith(
        "4 trials in 20 s, with 2.00 at work at a time on average. Their time went into: 50 %"
    )
    draw_timeline(data).to_json()
    assert timeline_sentence(timeline_data([])) == ""
    draw_timeline(timeline_data([])).to_json()


def test_confirmed_run_compares_by_means_over_seeds() -> None:
    records = confirmed_records()
    grid = at_equal_parameters(averaged(records), verdicts=verdicts_of(records, objectives=PAIR))
    best = min((1.40 + 1.19 + 1.345 + 1.27 + 1.315) / 5, (1.40 + 1.205 + 1.34 + 1.275 + 1.325) / 5)
    assert _cell(grid, "dwa", "12 blocks, 600 k").text.startswith(f"{math.exp(best):.3f}")
