"""One run of several budgets: values, table and pages say the same of its sizes."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.sizes import sizes_of
from depthweave.reports.comparison.comparison import answer_sentence, compare, comparison_values
from depthweave.reports.comparison.page import comparison_page_of, render_comparison
from depthweave.reports.comparison.table import comparison_view
from depthweave.reports.page.size_section import size_section
from depthweave.reports.store.run_store import RunStore
from tests.reports.comparing import make_run, make_store
from tests.reports.sized import dwa, sized_records, sized_store

NAMES = ("dwa 1×1", "dwa 4×1", "dwa 2×1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """One pattern carries over, one fades, and one is open."""
    return sized_store(
        tmp_path_factory.mktemp("sizes") / "run",
        sized_records(
            {
                (12, 150_000): [(dwa(1, 1), -0.03), (dwa(4, 1), -0.02), (dwa(2, 1), 0.0)],
                (12, 300_000): [(dwa(1, 1), -0.03), (dwa(4, 1), -0.01), (dwa(2, 1), 0.0)],
            }
        ),
    )


def test_values_of_one_run_are_json_and_hold_all_patterns(store: RunStore) -> None:
    comparison = compare([store])
    assert comparison.pairs == []
    values = comparison_values(comparison)
    assert json.loads(json.dumps(values)) == values
    sizes = values["runs"][0]["sizes"]
    assert {it["name"]: it["verdict"] for it in sizes["patterns"]} == dict(
        zip(NAMES, ("carries over", "fades", "not settled"), strict=True)
    )
    assert sizes["patterns"][0]["points"][0]["num_seeds"] == 5
    assert sizes["reach"] == 1_200_000
    assert answer_sentence(comparison)[0].startswith("Of 3 patterns at several of the sizes 150 k and 300 k, 1 carries")


@pytest.mark.parametrize("columns", [80, 120])
def test_table_of_one_run_fits(store: RunStore, columns: int) -> None:
    console = Console(file=io.StringIO(), width=columns)
    console.print(comparison_view(compare([store])))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= columns
    (row,) = [" ".join(line.split()) for line in text.splitlines() if "dwa 1×1 12" in line]
    assert row.startswith("dwa 1×1 12 -0.030±.001 -0.030±.001 ")
    assert row.endswith("carries over")
    assert "Nothing is claimed beyond 1.20 M parameters" in text


def test_report_and_comparison_have_the_section(store: RunStore) -> None:
    section = size_section(sizes_of(RunView.read(store)))
    table, ranks = section.tables
    assert [row.name for row in table.rows] == [f"{name}, 12 blocks" for name in NAMES]
    assert table.columns[1].startswith("150 k (2.6 tokens")
    assert table.rows[0].cells[0].text == "carries\N{NO-BREAK SPACE}over"
    assert [row.cells[0].text for row in ranks.rows] == ["not\N{NO-BREAK SPACE}settled"] * 2
    page = comparison_page_of(compare([store]))
    assert page.sizes[0][1].sentences == section.sentences
    html = render_comparison(page)
    assert "Across sizes" in html
    assert "Whose front is ahead" not in html


def test_each_run_of_several_has_its_own_section(store: RunStore, tmp_path: Path) -> None:
    again = [dataclasses.replace(it, run_id="again") for it in store.records()]
    comparison = compare([store, sized_store(tmp_path / "again", again)])
    page = comparison_page_of(comparison)
    assert [label for label, _ in page.sizes] == ["run", "again"]
    names = [figure.id for _, section in page.sizes for figure in section.figures]
    assert len(set(names)) == len(names) == 4
    html = render_comparison(page)
    assert "Across sizes of again" in html
    assert "Whose front is ahead" in html
    console = Console(file=io.StringIO(), width=80)
    console.print(comparison_view(comparison))
    assert "sizes of again" in console.file.getvalue()  # type: ignore[attr-defined]


def test_one_run_of_one_budget_is_refused_in_one_line(tmp_path: Path) -> None:
    store = make_store(tmp_path / "one", make_run())
    with pytest.raises(ValueError, match="budget only: name at least two runs, or one whose") as refused:
        compare([store])
    assert "\n" not in str(refused.value)
    section = size_section(sizes_of(RunView.read(store)))
    assert not [*section.figures, *section.tables, *section.sentences]
