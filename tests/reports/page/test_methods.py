"""The method notes come from the records."""

from __future__ import annotations

import json

from depthweave.reports.page.methods import method_notes
from tests.reports.synthetic import make_info, make_record


def test_method_notes_name_corpus_recipe_machine() -> None:
    notes = dict(method_notes([make_record(0)], info=make_info()))
    assert "9f86d081" in notes["Corpus"]
    assert "learning rate 0.001" in notes["Training"]
    assert "seed" not in notes["Training"]
    assert "a processor (cpu)" in notes["Hardware"]
    assert "torch 2.13" in notes["Software"]
    assert "equal tokens, not equal time" in notes["Training"]


def test_method_notes_several_machines_and_seeds() -> None:
    records = [make_record(n, seed=n, hardware=f"machine {n}") for n in range(6)]
    notes = dict(method_notes(records, info=make_info()))
    assert "machine 0, machine 1, machine 2, machine 3 and 2 more" in notes["Hardware"]
    assert notes["Seeds"].startswith("0, 1, 2, 3 and 2 more")


def test_method_notes_only_shared_recipe_fields() -> None:
    recipes = [{"steps": 200, "batch": 8, "seed": 0}, {"steps": 200, "batch": 16, "seed": 1}]
    records = [make_record(n, recipe=json.dumps(recipe)) for n, recipe in enumerate(recipes)]
    assert "The recipe: steps 200." in dict(method_notes(records, info=make_info()))["Training"]


def test_method_notes_recipe_that_is_no_json() -> None:
    assert "as usual" in dict(method_notes([make_record(0, recipe="as usual")], info=make_info()))["Training"]
    assert "[3]" in dict(method_notes([make_record(0, recipe="[3]")], info=make_info()))["Training"]


def test_method_notes_without_records() -> None:
    assert [term for term, _ in method_notes([], info=make_info())] == ["Objectives", "Twins", "Front"]
