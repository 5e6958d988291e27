"""What is said about the choice of learning rates, and where the page says it."""

from __future__ import annotations

from pathlib import Path

from depthweave.reports.analysis.learning_rates import rates_sentences
from depthweave.reports.page.methods import beginning_notes
from depthweave.reports.store.learning_rates import LEARNING_RATES_FILE, write_rate_trainings
from depthweave.reports.store.run_store import RunStore
from tests.reports.store.test_learning_rates import trainings_of
from tests.reports.synthetic import make_info


def test_sentences_name_rates_costs_and_doubts() -> None:
    found = trainings_of(
        {
            ("none", 6): {2e-3: 1.9, 4e-3: 2.0, 8e-3: 2.1},
            ("dwa", 4): {2e-3: 2.0, 4e-3: 1.9, 8e-3: 2.1},
            ("dwa", 6): {2e-3: 2.0, 4e-3: 1.8, 8e-3: 1.7},
            ("mudd", 4): {2e-3: None, 4e-3: None, 8e-3: None},
        }
    )
    assert rates_sentences(found) == [
        "The learning rate of each fusion and depth was chosen by 12 trainings of 50 steps with another seed (12.0 "
        "k tokens, which no trial counts): 0.002 for mudd (4 blocks), none (6 blocks); 0.004 for dwa (4 blocks); 0.008 "
        "for dwa (6 blocks).",
        "The highest rate that was tried is the best for dwa (6 blocks): higher ones may be better.",
        "The lowest rate that was tried is the best for none (6 blocks): lower ones may be better.",
        "No training has a loss for mudd (4 blocks) (the loss was not finite at step 3): the lowest rate is used.",
    ]


def test_rate_at_an_end_for_all_is_said_briefly() -> None:
    found = trainings_of({("dwa", depth): {2e-3: 2.0, 4e-3: 1.9} for depth in (4, 6, 8)})
    first, second = rates_sentences(found)
    assert first.endswith("0.004 for dwa (4, 6 and 8 blocks).")
    assert second == "The highest rate that was tried is the best for all: higher ones may be better."


def test_page_says_it_and_a_damaged_file_hides_nothing_else(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(run_id="run"), spec_yaml="{}")
    assert beginning_notes(store) == ([], [])
    found = trainings_of({("dwa", 4): {2e-3: 2.0, 4e-3: 1.9, 8e-3: 2.1}})
    write_rate_trainings(store, found)
    assert beginning_notes(store) == ([("Learning rates", rates_sentences(found)[0])], [])
    store.write_bytes(LEARNING_RATES_FILE, b"\xff")
    notes, (problem,) = beginning_notes(store)
    assert notes == []
    assert f"{LEARNING_RATES_FILE}: cannot be read" in problem
