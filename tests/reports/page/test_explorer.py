"""The data behind the interactive front: everything a reader may ask for is there, in words made from the records."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import moocore
import pyarrow as pa
import pytest

from depthweave.reports.analysis.front import front, points_of, value_of
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.figures.thinning import ever_on_front, thinned
from depthweave.reports.page import traces
from depthweave.reports.page.explorer import Explorer, explorer_of
from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_store import RunStore
from tests.reports.confirmed import PAIR, confirmed_records
from tests.reports.irregular import irregular_records
from tests.reports.many import many_records
from tests.reports.synthetic import OBJECTIVES as RUN_OBJECTIVES
from tests.reports.synthetic import make_record, synthetic_trials

NO_CURVES = to_table([], row_class=EvaluationRow)
NO_WEIGHTS = to_table([], row_class=WeightRow)


def _of(records: Sequence[Record], *, objectives: Sequence[str] = RUN_OBJECTIVES) -> Explorer:
    view = RunView.of(records, objectives=objectives)
    found = explorer_of(view, run="runs/x", weights=lambda trials: NO_WEIGHTS)
    assert found is not None
    return found


def _from_store(store: RunStore) -> dict[str, Any]:
    found = explorer_of(RunView.read(store), run=store.where, weights=store.weights)
    assert found is not None
    data: dict[str, Any] = json.loads(json.dumps(found.data))
    return data


def _front_values(records: Sequence[Record], pair: tuple[str, str]) -> set[tuple[float, ...]]:
    held = [it for it in records if it.state == "complete" and all(value_of(it, name) is not None for name in pair)]
    if not held:
        return set()
    points = points_of(held, objectives=pair)
    return {tuple(point) for point in points[moocore.is_nondominated(points, keep_weakly=True)].tolist()}


@pytest.mark.parametrize("seed", range(3))
def test_thinning_keeps_every_front_that_filters_can_leave(seed: int) -> None:
    records = many_records(1_500)
    columns = ["perplexity", "latency", "memory_bytes", "parameters", "step_latency"]
    kept = thinned(records, on_front=ever_on_front(records, columns=columns, objectives=RUN_OBJECTIVES), max_faint=50)
    assert len(kept) < 1_000
    draw = random.Random(seed)
    fusions = set(draw.sample(["none", "dwa", "dwatt", "concat"], 2))
    depths, budgets = set(draw.sample([6, 12, 24], 2)), set(draw.sample([300_000, 1_000_000, 3_000_000], 2))

    def left(given: Sequence[Record]) -> list[Record]:
        return [it for it in given if it.fusion in fusions and it.depth in depths and it.budget in budgets]

    for pair in itertools.combinations(columns, 2):
        assert _front_values(left(kept), pair) == _front_values(left(records), pair)
    assert front(left(kept), objectives=RUN_OBJECTIVES) == front(left(records), objectives=RUN_OBJECTIVES)


def test_points_say_what_the_records_say() -> None:
    records = [trial.record for trial in synthetic_trials()]
    found = _of(records)
    points = found.data["points"]
    by_trial = {it.trial: it for it in records}
    assert len(points["trial"]) == 30
    assert {it.state for it in records if it.trial in points["trial"]} == {"complete", "pruned"}
    for place, trial in enumerate(points["trial"]):
        record = by_trial[trial]
        for column in found.columns:
            value = points["values"][column.name][place]
            if record.state == "pruned" and column.name == "perplexity":
                assert value == pytest.approx(math.exp(record.last_loss or 0.0))
                assert points["texts"][column.name][place].endswith("when stopped")
            elif getattr(record, column.name) is not None:
                assert value == pytest.approx(getattr(record, column.name), rel=1e-8)
        assert bool(points["command"][place]) == (record.state == "complete")
        assert found.data["wirings"][points["wiring"][place]] == json.loads(record.wiring)
    members = {trial for place, trial in enumerate(points["trial"]) if points["member"][place]}
    assert members == {it.trial for it in front(records, objectives=RUN_OBJECTIVES)}


def test_families_of_wirings_are_a_filter_where_there_are_several() -> None:
    found = _of(irregular_records())
    assert found.data["points"]["family"] == ["none", "k×p", "k×p", "edges", "edges", "edges"]
    (family,) = [it for it in found.filters if it.name == "family"]
    assert [choice.value for choice in family.choices] == ["k×p", "edges"]
    strided = _of([it for it in irregular_records() if it.dilation or it.fusion == "none"])
    assert "family" not in [it.name for it in strided.filters]
    assert "fusion" in [it.name for it in strided.filters]


def test_lists_are_equally_long_and_name_their_columns() -> None:
    found = _of([trial.record for trial in synthetic_trials()])
    points = found.data["points"]
    held = {len(values) for name, values in points.items() if isinstance(values, list)}
    for name in ("values", "texts", "low", "high", "interval"):
        held |= {len(values) for values in points[name].values()}
        assert set(points[name]) <= {column.name for column in found.columns}
    assert held == {found.num_points}
    # No record of the run has these.
    absent = ("error", "decode_latency")
    assert [column.name for column in found.columns] == [name for name in OBJECTIVES if name not in absent]
    assert (found.x, found.y) == ("latency", "perplexity")


def test_curves_and_weights_are_those_of_the_store(full_store: RunStore) -> None:
    data = _from_store(full_store)
    record = next(it for it in full_store.records() if it.state == "complete" and it.fusion == "dwa")
    ((seed, state, grid, losses),) = data["curves"]["by_id"][record.architecture_id]
    rows = full_store.evaluations({record.trial}).to_pylist()
    assert (seed, state) == (record.seed, "complete")
    assert data["curves"]["tokens"][grid] == [row["tokens"] for row in rows]
    assert losses == [round(row["loss"], 4) for row in rows]
    weights = {
        (row["site"], row["source"]): row["value"]
        for row in full_store.weights({record.trial}).to_pylist()
        if row["tokens"] == record.tokens
    }
    pairs = [(block, source) for block, sources in json.loads(record.wiring) for source in sources]
    assert data["weights"][str(record.trial)] == pytest.approx([weights[pair] for pair in pairs], rel=1e-3)


def test_a_page_has_room_for_so_many_weights(full_store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _from_store(full_store)["weights"]
    monkeypatch.setattr(traces, "MAX_WEIGHTS", 100)
    some = _from_store(full_store)["weights"]
    assert 0 < sum(map(len, some.values())) <= 100 < sum(map(len, whole.values()))
    members = {str(it.trial) for it in front(full_store.records(), objectives=RUN_OBJECTIVES)}
    # Those of the front come first.
    assert set(some) <= members


def test_confirmed_architectures_are_one_point_with_bars_and_close_rivals() -> None:
    found = _of(confirmed_records(), objectives=PAIR)
    points = found.data["points"]
    assert points["id"] == ["plain", "best", "close", "once"]
    assert points["seeds"] == [5, 5, 5, 0]
    assert points["estimated"] == [0, 0, 0, 1]
    assert [text.startswith("~") for text in points["texts"]["perplexity"]] == [False, False, False, True]
    assert not any(text.startswith("~") for text in points["texts"]["latency"])
    assert [low is None for low in points["low"]["perplexity"]] == [False, False, False, True]
    assert "latency" not in points["low"]
    assert found.data["close_rivals"] == {"0": [], "1": [2], "2": [1]}
    assert points["uncertainty"] == ["", "", "", "it has 0 fresh seeds of the 5 needed"]
    assert "--where seed==0" in points["command"][1]


def test_nothing_to_draw_is_none() -> None:
    def weights(trials: set[int]) -> pa.Table:
        raise AssertionError("nothing was drawn")

    for records in ([], [make_record(0, state="failed", perplexity=None)]):
        found = explorer_of(RunView.of(records, objectives=PAIR), run="x", weights=weights)
        assert found is None
