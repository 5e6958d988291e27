"""A new objective is one row of the registry: the spec, the search and everything that reports takes it from there."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.analysis.selection import parse_where, select
from depthweave.reports.comparison.comparison import compare
from depthweave.reports.comparison.page import comparison_page_of, render_comparison
from depthweave.reports.comparison.table import comparison_view
from depthweave.reports.export.card import card_of_record
from depthweave.reports.export.metrics import metrics_json
from depthweave.reports.export.training import training_of
from depthweave.reports.figures.hover import hover_text
from depthweave.reports.formatting import show
from depthweave.reports.page.page import page_of, render
from depthweave.reports.store.objectives import OBJECTIVES, Objective
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.front_plot import front_view
from depthweave.reports.terminal.table import front_rows
from depthweave.search.spec.schema import Spec
from tests.reports.comparing import make_run, make_store
from tests.search import ledger_runs
from tests.search.ledger_runs import Run

KEPT = Objective(
    name="kept_values",
    title="values kept for later sites",
    short="kept values",
    column_heading="kept",
    meaning="numbers a token that are kept for later sites",
    format="count",
    unit="value/token",
    tolerance=0.03,
    cost=True,
    compared_on=("context",),
    # No column of a record, but what follows from two of them.
    source=lambda record: record.kept_states * record.width,
)
NAMES = ("perplexity", KEPT.name)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, KEPT.name, KEPT)
    # The searches of this file have these objectives.
    monkeypatch.setattr(ledger_runs, "OBJECTIVES", NAMES)


@pytest.fixture
def searched(tmp_path: Path) -> RunStore:
    """A run of all ten architectures: the more an architecture keeps, the lower its loss."""
    run = Run(tmp_path / "run", sampler="known-cost", max_concurrent=1)
    while (live := run.ledger.next("trial")) is not None:
        kept = live.candidate.architecture.wiring.max_kept_states
        run.train("trial", last_loss=1.0 + 1.0 / kept)
    write_front(run.store, run.store.records())
    return run.store


def _kept(record: Record) -> int:
    return record.kept_states * record.width


def _printed(shown: object) -> str:
    sink = io.StringIO()
    Console(file=sink, width=160).print(shown)
    return sink.getvalue()


def test_spec_takes_it_with_its_default_tolerance() -> None:
    spec = Spec.model_validate({"objectives": list(NAMES)})
    assert spec.tolerances == {"perplexity": 0.005, KEPT.name: 0.03}
    with pytest.raises(ValueError, match="all costs"):
        Spec.model_validate({"objectives": [KEPT.name]})


def test_search_minimises_it_and_the_store_holds_its_front(searched: RunStore) -> None:
    run = Run(Path(searched.where), sampler="known-cost")
    records = searched.records()
    assert len(records) == len(ledger_runs.SPACE)
    assert [trial.values[1] for trial in run.studies.trials] == [_kept(record) for record in records]
    members = front(records, objectives=NAMES)
    assert 1 < len({_kept(member) for member in members}) < len(records)
    rows = pq.read_table(Path(searched.where) / "front.parquet").to_pylist()
    assert [row["trial"] for row in rows if row["objectives"] == ",".join(NAMES)] == [it.trial for it in members]


def test_selection_takes_conditions_on_it(searched: RunStore) -> None:
    records = searched.records()
    limit = sorted(_kept(record) for record in records)[2]
    (condition,) = parse_where(f"{KEPT.name}<={limit}")
    assert _kept(select(records, how="best", objectives=NAMES, where=[condition])) <= limit


def test_page_has_its_axis_its_slider_and_its_column(searched: RunStore) -> None:
    page = page_of(searched)
    assert page.explorer is not None
    column = {item.name: item for item in page.explorer.columns}[KEPT.name]
    assert (column.title, column.cost) == ("values kept for later sites (value/token)", True)
    assert page.explorer.limits[KEPT.name][-1].value >= max(map(_kept, searched.records()))
    points = page.explorer.data["points"]
    by_trial = dict(zip(points["trial"], points["values"][KEPT.name], strict=True))
    assert by_trial == {record.trial: _kept(record) for record in searched.records()}
    assert page.front.columns == ["validation perplexity", "values kept for later sites"]
    assert "values kept for later sites" in render(page)


def test_terminal_hover_and_rows_show_it(searched: RunStore) -> None:
    records = searched.records()
    text = _printed(front_view(records, objectives=NAMES, columns=160))
    assert "kept" in text
    assert "values kept for later sites (value/token)" in text
    kept = {record.trial: _kept(record) for record in records}
    assert all(row[KEPT.name] == kept[row["trial"]] for row in front_rows(records, objectives=NAMES))
    assert f"kept values {show(KEPT.name, _kept(records[0]))}" in hover_text(records[0])


def test_export_states_it_in_the_card_and_in_the_metrics(searched: RunStore) -> None:
    record = searched.records()[0]
    training = training_of(record, spec_yaml="")
    card = card_of_record(searched, record, training=training, folder=Path("out"), verdict=None, formats=())
    assert "| numbers a token that are kept for later sites | " in card
    assert "values kept for later sites" in card, "the table of the front"
    metrics = json.loads(metrics_json({KEPT.name: KEPT.of(record)}))
    assert metrics[KEPT.name] == {"value": _kept(record), "unit": KEPT.unit, "meaning": KEPT.meaning}


def test_comparison_orders_by_it_and_refuses_it_where_the_context_differs(tmp_path: Path) -> None:
    recipe = json.dumps({"batch": 16, "context": 64, "evaluation_tokens": 4096})
    records = [make_run(run_id="a", width=8), make_run(run_id="b", width=8), make_run(run_id="c", recipe=recipe)]
    stores = [
        make_store(tmp_path / own[0].run_id, own, objectives=NAMES)
        for own in ([_varied(item) for item in run] for run in records)
    ]
    comparison = compare(stores)
    same, other, _ = comparison.pairs
    assert [order.objective for order in same.orders] == list(NAMES)
    assert same.fronts is not None
    assert same.fronts.objectives == NAMES
    assert KEPT.name in [item.objective for item in other.refused]
    assert "Values kept for later sites is not compared" in _printed(comparison_view(comparison))
    assert "alues kept for later sites" in render_comparison(comparison_page_of(comparison))


def _varied(record: Record) -> Record:
    return dataclasses.replace(record, kept_states=2 + record.trial)
