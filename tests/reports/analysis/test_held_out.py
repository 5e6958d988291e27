"""The test perplexity: over fresh seeds, with its interval, wherever a confirmation is shown, and nowhere else."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.analysis.held_out import HeldOut, held_out_of, held_out_text
from depthweave.reports.analysis.intervals import Interval, mean_interval
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.selection import select
from depthweave.reports.analysis.summary import answer_sentence, outcome_sentence, summarise
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.export.card import card_of_record
from depthweave.reports.export.training import training_of
from depthweave.reports.page.page import page_of, write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.front_plot import csv_text, front_view
from depthweave.reports.terminal.table import front_rows, held_out_table
from tests.reports.confirmed import PAIR, TEST_GAP, confirmed_records, held_out_records, seeded
from tests.reports.synthetic import make_info

Append = Callable[[Record], None]


def test_held_out_of_is_the_mean_and_interval_of_the_fresh_seeds_that_have_one() -> None:
    found = held_out_of(held_out_records())
    losses = [item.loss for item in confirmed_records() if item.architecture_id == "best" and item.seed > 0]
    assert found.keys() == {"plain", "best", "close"}
    expected = mean_interval([loss + TEST_GAP for loss in losses if loss is not None])
    assert found["best"].interval == pytest.approx(expected)
    assert found["best"].mean == pytest.approx(math.exp(expected.mean))
    assert held_out_of(confirmed_records()) == {}
    # The search's own seed does not count, should a record of it hold one.
    assert held_out_of(seeded("own", {0: 1.0}, trial=0, test_loss=1.0)) == {}
    diverged = seeded("lost", {1: 1.0, 2: 1.1}, trial=1, test_loss=math.inf)
    assert held_out_of(diverged) == {}


def test_held_out_text_of_one_seed_has_no_interval() -> None:
    assert held_out_text(None) == ("", "")
    assert held_out_text(HeldOut(Interval(1, 1.0, None), "perplexity")) == ("2.718", "")
    assert held_out_text(HeldOut(Interval(2, 1.0, 1e4), "perplexity")) == ("2.718", "0.000 to inf")


def test_held_out_error_is_not_a_perplexity() -> None:
    own = seeded("own", {0: 0.5}, trial=0) + seeded("own", {1: 0.5, 2: 0.6}, trial=1, test_error=0.7)
    found = held_out_of(own)["own"]
    assert (found.quality, found.mean) == ("error", pytest.approx(0.7))
    assert held_out_text(found) == ("0.700", "0.700 to 0.700")


def test_rows_and_csv_have_the_test_perplexity_with_its_interval() -> None:
    rows = {row["architecture_id"]: row for row in front_rows(held_out_records(), objectives=PAIR)}
    own = held_out_of(held_out_records())["best"]
    assert rows["best"]["mean_test_perplexity"] == pytest.approx(own.mean)
    assert rows["best"]["test_perplexity_low"] < own.mean < rows["best"]["test_perplexity_high"]
    by_id = {row["architecture_id"]: row for row in csv.DictReader(io.StringIO(csv_text(list(rows.values()))))}
    assert float(by_id["best"]["mean_test_perplexity"]) == rows["best"]["mean_test_perplexity"]
    assert front_rows(confirmed_records(), objectives=PAIR)[0]["mean_test_perplexity"] is None


def test_terminal_shows_validation_and_test_beside_each_other_within_80_columns() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(front_view(held_out_records(), objectives=PAIR, columns=80))
    (line,) = [line for line in text.getvalue().splitlines() if line.startswith("best") and " to " in line]
    own = held_out_text(held_out_of(held_out_records())["best"])
    assert line.split()[-4:] == [own.value, *own.interval.split()]
    assert held_out_table(RunView.of(confirmed_records(), objectives=PAIR)) is None


def test_page_states_the_test_perplexity_of_confirmed_members(store: RunStore, append: Append) -> None:
    for record in held_out_records():
        append(record)
    (cells,) = [row.verdict for row in page_of(store).front.rows if row.id == "best"]
    assert cells is not None
    assert cells.test == held_out_text(held_out_of(held_out_records())["best"])
    text = Path(write_report(store)).read_text(encoding="utf-8")
    assert '<th class="n">test perplexity</th>' in text
    assert f'<td class="n">{cells.test.value}<br><span class="quiet">{cells.test.interval}</span></td>' in text


def test_page_of_a_run_without_a_test_part_has_no_word_of_it(store: RunStore, append: Append) -> None:
    for record in confirmed_records():
        append(record)
    assert '<th class="n">test perplexity</th>' not in Path(write_report(store)).read_text(encoding="utf-8")


def test_interactive_card_has_the_test_perplexity(store: RunStore, append: Append) -> None:
    for record in held_out_records():
        append(record)
    found = page_of(store).explorer
    assert found is not None
    points = found.data["points"]
    tests = dict(zip(points["id"], points["test"], strict=True))
    assert tests["once"] == []
    assert tests["best"] == list(held_out_text(held_out_of(held_out_records())["best"]))


def test_model_card_states_it_beside_the_validation_perplexity(store: RunStore) -> None:
    records = held_out_records()
    record = select(records, how="best", objectives=PAIR)
    verdict = verdicts_of(records, objectives=PAIR)[record.architecture_id]
    training = training_of(record, spec_yaml="")
    folder = Path("exports/x")
    text = card_of_record(store, record, training=training, folder=folder, verdict=verdict, formats=())
    own = held_out_text(held_out_of(records)[record.architecture_id])
    assert f"| test perplexity, mean of 5 fresh seeds | {own.value} | {own.interval}, over seeds |" in text


def test_answer_and_outcome_state_the_test_part_and_the_sizes() -> None:
    info = make_info(reference_id="plain", corpus_bytes=(900_000, 60_000, 40_000))
    answer = answer_sentence(held_out_records(), info=info)
    own = held_out_of(held_out_records())
    (sentence,) = [
        line for line in answer if line.startswith("On the test part, which the search did not read, it has ")
    ]
    assert held_out_text(own["best"]).interval in sentence
    assert held_out_text(own["plain"]).value in sentence
    assert sentence.endswith("over 5 fresh seeds.")
    assert not [line for line in answer_sentence(confirmed_records(), info=info) if "test part" in line]
    sizes = "879 KiB to train on (90 %), 58.6 KiB to validate on (6 %), 39.1 KiB to test on (4 %)"
    assert f"corpus stdlib of {sizes}, in " in outcome_sentence(summarise(confirmed_records()), info=info)
    assert "to train on" not in outcome_sentence(summarise(confirmed_records()), info=make_info())


def test_front_file_has_the_columns_with_their_meaning(store: RunStore, append: Append) -> None:
    for record in held_out_records():
        append(record)
    write_front(store, store.records())
    table = pq.read_table(Path(store.where) / "front.parquet")
    assert b"test part" in table.schema.field("mean_test_perplexity").metadata[b"meaning"]
    assert table["mean_test_perplexity"].null_count == 0
