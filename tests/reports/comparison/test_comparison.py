"""Runs side by side: values, words, page and table say the same, and claim no more than they may."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from depthweave.reports.comparison.comparison import answer_sentence, compare, comparison_values, dominance_sentence
from depthweave.reports.comparison.dominance import dominance_of
from depthweave.reports.comparison.page import comparable_groups, comparison_page_of, render_comparison
from depthweave.reports.comparison.table import comparison_view
from depthweave.reports.store.run_store import RunStore
from tests.reports.comparing import EFFECTS, make_run, make_store
from tests.reports.synthetic import make_record

EVIL = '"><script>alert(1)</script>{{ 7*7 }}'


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[RunStore]:
    """The same machine with another corpus, and the same corpus with another machine, against the first run."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        make_store(folder / "a", make_run(run_id="a")),
        make_store(folder / "text", make_run(run_id="b", corpus_sha256="ab" * 32, loss=2.0)),
        make_store(folder / "machine", make_run([-it for it in EFFECTS], run_id="c", hardware=EVIL, loss=1.4)),
    ]


def test_pairs_say_what_agrees_and_what_is_refused(stores: list[RunStore]) -> None:
    comparison = compare(stores)
    text, machine, _ = comparison.pairs
    assert {order.objective: order.verdict for order in text.orders} == dict.fromkeys(
        ("perplexity", "latency", "memory_bytes"), "agree"
    )
    assert [item.objective for item in text.refused] == ["perplexity"]
    assert text.fronts is None
    assert "share no quality" in text.why_no_fronts
    assert {order.verdict for order in machine.orders} == {"oppose"}
    assert [item.objective for item in machine.refused] == ["latency"]
    assert machine.fronts is not None
    assert machine.fronts.objectives == ("perplexity", "memory_bytes")


def test_values_are_json_and_hold_the_ratios(stores: list[RunStore]) -> None:
    comparison = compare(stores)
    values = comparison_values(comparison)
    assert json.loads(json.dumps(values)) == values
    order = values["pairs"][0]["orders"][0]
    assert order["num_matched"] == len(order["ratios_to_plain"]) == len(EFFECTS) + 1
    assert order["ratios_to_plain"]["none"] == [1.0, 1.0]


def test_answer_of_two_runs_is_their_sentences_and_of_more_the_counts(stores: list[RunStore]) -> None:
    loss, fronts = answer_sentence(compare(stores[:2]))
    assert loss.startswith("Validation perplexity: Kendall's tau +1.00 over 8 patterns (95 % interval +1.00 to +1.00)")
    assert "not compared" in fronts
    assert answer_sentence(compare(stores))[0] == (
        "Validation perplexity: over 3 pairs of runs the orders agree in 1, are opposed in 2."
    )


@pytest.mark.parametrize("columns", [80, 120])
def test_table_fits_and_says_what_the_values_say(stores: list[RunStore], columns: int) -> None:
    console = Console(file=io.StringIO(), width=columns)
    console.print(comparison_view(compare(stores[:2])))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= columns
    assert " ".join(text.split()).count("+1.00 +1.00 to +1.00 agree") == 3
    assert "Validation perplexity is not compared: different corpus" in " ".join(text.split())


def test_page_stands_alone_and_lets_nothing_become_markup(stores: list[RunStore]) -> None:
    page = comparison_page_of(compare(stores))
    html = render_comparison(page)
    assert "default-src 'none'" in html
    assert "<script>alert(1)" not in html
    assert "{{ 7*7 }}" in html
    assert "unsafe-eval" not in html
    assert len(html) < 2_500_000
    assert len(page.pairs) == 3
    # Perplexity may be drawn with memory for the two of one text, with latency for none.
    assert len(page.fronts) == 1
    assert "a and machine in validation perplexity and memory" in page.fronts[0].caption
    for figure in [*page.fronts, *(item for pair in page.pairs for item in pair.figures)]:
        assert set(json.loads(figure.json)) == {"data", "layout"}
        assert f'data-for="{figure.id}"' in html


def test_runs_are_grouped_by_what_may_be_compared(stores: list[RunStore]) -> None:
    runs = compare(stores).runs
    grouped = comparable_groups(runs, objectives=("perplexity", "memory_bytes"))
    assert [[run.label for run in group] for group in grouped] == [["a", "machine"]]
    assert [len(group) for group in comparable_groups(runs, objectives=("memory_bytes",))] == [3]
    assert comparable_groups(runs, objectives=("perplexity", "latency")) == []


def test_run_without_complete_trials_or_given_twice_is_refused(stores: list[RunStore], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="budget only: name at least two"):
        compare(stores[:1])
    with pytest.raises(ValueError, match="is given twice: name different runs"):
        compare([stores[0], stores[1], RunStore.open(stores[0].where)])
    empty = make_store(tmp_path / "empty", [make_record(run_id="d", state="pruned", perplexity=None)])
    with pytest.raises(ValueError, match="has no complete trial yet"):
        compare([stores[0], empty])


def test_runs_without_a_common_pattern_say_so(stores: list[RunStore], tmp_path: Path) -> None:
    lonely = make_store(tmp_path / "plain", make_run([], run_id="e"))
    (pair,) = compare([stores[0], lonely]).pairs
    assert pair.orders == []
    assert pair.unmatched == ["perplexity", "latency", "memory_bytes"]


def test_page_without_a_figure_carries_no_plotly(stores: list[RunStore], tmp_path: Path) -> None:
    # Another text, so that no fronts may be drawn together, and no pattern but plain.
    lonely = make_store(tmp_path / "plain", make_run([], run_id="e", corpus_sha256="cd" * 32))
    page = comparison_page_of(compare([stores[0], lonely]))
    assert page.fronts == page.pairs[0].figures == []
    html = render_comparison(page)
    assert 'id="plotly"' not in html
    assert len(html) < 40_000


def test_folders_of_one_name_are_distinguished_by_their_address(tmp_path: Path) -> None:
    stores = [make_store(tmp_path / name / "quick", make_run(run_id=name)) for name in ("a", "b")]
    assert [run.label for run in compare(stores).runs] == [store.where for store in stores]


def test_sentence_of_a_front_that_dominates_says_whether_it_is_settled() -> None:
    found = dominance_of(make_run(loss=1.4), make_run(), objectives=("perplexity", "latency", "memory_bytes"))
    message = dominance_sentence(found, first="a", second="b")
    assert message.startswith("In validation perplexity, forward latency and memory of a training step the front of a ")
    assert message.endswith("but not at all ends of the intervals: not settled.")
    assert "dominates that of b, at all ends of the intervals." in dominance_sentence(
        found._replace(settled=True), first="a", second="b"
    )
    assert "the two fronts are equal" in dominance_sentence(found._replace(verdict="equal"), first="a", second="b")


def test_runs_with_other_blocks_say_that_losses_depend_on_them(tmp_path: Path) -> None:
    gpt = make_store(tmp_path / "a", make_run(run_id="a"))
    llama = make_store(tmp_path / "b", make_run(run_id="b", block="llama", heads_per_kv=2))
    (pair,) = compare([gpt, llama]).pairs
    said = "Blocks are gpt in a and llama, 2 heads a key and value in b, which also changes losses and costs."
    assert said in pair.notes
    # The references are two models, so ratios to them have no common scale. Orders of patterns still compare.
    (refused,) = [item.reason for item in pair.refused if item.objective == "latency"]
    assert "6 blocks (llama, 2 heads a key and value)" in refused
    assert pair.orders
    (pair,) = compare([gpt, make_store(tmp_path / "c", make_run(run_id="c"))]).pairs
    assert not [note for note in pair.notes if note.startswith("Blocks")]
