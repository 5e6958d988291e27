"""A column without any value is not shown: one rule for all tables."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from depthweave.reports.comparison.comparison import compare
from depthweave.reports.comparison.page import comparison_page_of
from depthweave.reports.comparison.table import comparison_view
from depthweave.reports.figures.grid import Cell, Grid, GridRow, filled_grid
from depthweave.reports.filled_columns import filled_columns, shared_columns
from depthweave.reports.page.page import page_of
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.table import front_table
from tests.reports.comparing import make_recipe, make_run, make_store
from tests.reports.synthetic import make_record
from tests.reports.tagged import tagged_run

_FACTS = ["depth", "parameters", "tokens a parameter", "seed"]


def test_columns_without_a_value_are_left_out() -> None:
    rows = [["-", "1", "", "unknown"], ["2", "3", "-", "unknown"]]
    assert filled_columns("abcd", rows) == (["a", "b"], [["-", "1"], ["2", "3"]])
    assert filled_columns("ab", []) == (["a", "b"], [])


def test_columns_that_all_rows_share_are_said_once() -> None:
    rows = [["12", "7", "-"], ["12", "8", "-"]]
    assert shared_columns("abc", rows) == ([("a", "12"), ("c", "-")], ["b"], [["7"], ["8"]])
    assert shared_columns("abc", rows[:1]) == ([], ["a", "b", "c"], [["12", "7", "-"]])
    assert shared_columns("abc", []) == ([], ["a", "b", "c"], [])


def test_a_grid_keeps_the_columns_in_which_a_cell_has_a_text() -> None:
    rows = [GridRow("one", "", [Cell(""), Cell("1"), Cell("")]), GridRow("two", "", [Cell(""), Cell(""), Cell("2")])]
    kept = filled_grid(Grid("title", "", ["a", "b", "c"], rows))
    assert kept.columns == ["b", "c"]
    assert [[cell.text for cell in row.cells] for row in kept.rows] == [["1", ""], ["", "2"]]


def test_heads_have_no_tokens_a_parameter_on_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full_store: RunStore
) -> None:
    front = page_of(full_store).front
    assert (front.facts, front.shared_facts) == (_FACTS[:-1], "seed 0")
    front = page_of(tagged_run(tmp_path / "run", monkeypatch)).front
    assert front.shared_facts == "depth 6, parameters 600 k, seed 0"
    assert {len(row.facts) for row in front.rows} == {0}


def test_an_objective_that_no_member_has_is_no_column_in_a_terminal() -> None:
    # Perplexity is the reported quality although it is not searched.
    records = [make_record(0, perplexity=None, memory_bytes=10), make_record(1, memory_bytes=20, latency=0.5)]
    shown = {
        number: [str(column.header) for column in front_table(records[:number], objectives=("latency",)).columns]
        for number in (1, 2)
    }
    assert "perplexity" in shown[2]
    assert "perplexity" not in shown[1]


def test_facts_that_no_compared_run_has_are_not_shown(tmp_path: Path) -> None:
    def both(folder: str, **changes: str) -> list[RunStore]:
        runs = [make_run(run_id=name, **changes) for name in ("one", "two")]
        return [make_store(tmp_path / folder / run[0].run_id, run) for run in runs]

    def told(stores: list[RunStore]) -> tuple[list[str], str]:
        comparison = compare(stores)
        sink = io.StringIO()
        Console(file=sink, width=200).print(comparison_view(comparison))
        page = comparison_page_of(comparison)
        assert {len(values) for _, _, values in page.runs} == {len(page.facts)}
        return page.facts, sink.getvalue().splitlines()[0]

    facts, heads = told(both("with"))
    assert "context" in facts
    assert "context" in heads
    facts, heads = told(both("without", recipe=make_recipe(context=None)))
    assert "context" not in facts
    assert "context" not in heads
    assert "tokenizer" in heads
