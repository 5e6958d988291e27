"""The page of a search over heads has their sections, with all text escaped; other pages have none of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.figures.tagged_examples import EXAMPLES_FILE, write_examples
from depthweave.reports.page.few_shot_sections import few_shot_sections
from depthweave.reports.page.filters import filters_of
from depthweave.reports.page.page import page_of, render
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.table import front_table
from tests.reports.synthetic import make_record
from tests.reports.tagged import EXAMPLES, TAGGED_OBJECTIVES, Score, tagged_record, tagged_records, tagged_run

_TITLES = ["Learning from few sentences", "How fast heads learn", "Which layers heads read", "Example sentences"]


def test_sections_have_a_figure_a_size_and_choices() -> None:
    scores, courses, layers, examples = few_shot_sections(tagged_records(), examples=EXAMPLES)
    assert [it.title for it in (scores, courses, layers, examples)] == _TITLES
    assert [it.id for it in scores.figures] == ["few-shot-scores", "few-shot-differences"]
    assert [it.title for it in courses.figures] == ["50 shots", "100 shots", "400 shots"]
    assert list(layers.choices) == ["400 shots", "100 shots", "50 shots"]
    assert [it.choice for it in layers.figures] == [choice for choice in layers.choices for _ in range(2)]
    assert len({it.id for section in (scores, courses, layers) for it in section.figures}) == 11
    assert len(examples.examples) == 2


def test_sentences_say_who_is_ahead_and_what_is_above_chance() -> None:
    first, second = few_shot_sections(tagged_records(), examples=())[0].sentences
    assert first == "With 400 shots concat has the highest F1, 40.1 % over 3 draws."
    assert second == (
        "Paired by draw, mix, dwa, concat and dwatt are above deeper and last is below deeper: the 95 % intervals "
        "exclude zero."
    )


def test_differences_within_chance_are_said_to_be_so() -> None:
    def of(number: int, head: str, values: list[float]) -> Any:
        scores = tuple(Score(shots=50, draw=draw, step=300, f1=f1) for draw, f1 in enumerate(values))
        return tagged_record(number, head=head, scores=scores)

    (_, second), *_ = (
        it.sentences for it in few_shot_sections([of(1, "deeper", [0.1, 0.2]), of(2, "mix", [0.2, 0.1])], examples=())
    )
    assert second == "No 95 % interval of a paired difference to deeper excludes zero."
    (alone,), *_ = (it.sentences for it in few_shot_sections([of(2, "mix", [0.2])], examples=()))
    assert alone == "With 50 shots mix has the highest F1, 20.0 % over 1 draw."


def test_other_tasks_have_no_such_section(store: RunStore) -> None:
    assert few_shot_sections([make_record(0)], examples=EXAMPLES) == []
    store.append(make_record(0), evaluations=[], weights=[])
    assert not {it.title for it in page_of(store).sections} & set(_TITLES)


def test_page_and_table_say_head_and_name_the_classifier_alone_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = tagged_run(tmp_path, monkeypatch)
    text = render(page_of(store))
    assert '<option value="">head</option>' in text
    assert "<legend>head</legend>" in text
    assert [it.value for it in filters_of(tagged_records())[0].choices] == [
        "last",
        "concat",
        "deeper",
        "dwa",
        "dwatt",
        "mix",
    ]
    table = front_table(store.records(), objectives=TAGGED_OBJECTIVES)
    assert table.columns[1].header == "head k×p"


def test_page_shows_them_escaped(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    evil = "<script>alert(1)</script>"
    odd = dataclasses.replace(
        EXAMPLES[1], gold=("O", f"B-{evil}", *["O"] * 5), predicted={evil: ("O", f"B-{evil}", *["O"] * 5)}
    )
    write_examples(store, [*EXAMPLES, odd])
    records: list[Any] = tagged_records()
    monkeypatch.setattr(RunStore, "records", lambda self: records)
    page = page_of(store)
    assert [it.title for it in page.sections if it.title in _TITLES] == _TITLES
    html = render(page)
    assert evil not in html
    assert '<mark class="right">New York<span class="type">location</span></mark>' in html
    assert '<mark class="wrong">Game<span class="type">group<span class="unseen">, wrong</span></span></mark>' in html
    assert "&lt;b&gt;Apple&lt;/b&gt;" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_damaged_examples_are_named_and_the_rest_is_shown(store: RunStore) -> None:
    store.write_bytes(EXAMPLES_FILE, b"{")
    page = page_of(store)
    assert len(page.problems) == 1
    assert "examples.json: cannot be read" in page.problems[0]
