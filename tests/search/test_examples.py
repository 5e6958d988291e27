"""Every example spec parses, resolves and holds its reference."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from benchmarks.stock.problem import QUICK
from depthweave.search.preparation import space_of
from depthweave.search.spec.loading import load_spec, parse_spec
from depthweave.spaces.balance import unbalanced
from depthweave.spaces.costs import costs_of
from depthweave.spaces.widths import TOLERANCE_FRAC
from depthweave.spaces.wiring_rules import WiringRule

# Heads on a host have tests of their own (`spec/test_tagging_spec.py`): their sizes are the host's.
EXAMPLES = sorted(path for path in (Path(__file__).parents[2] / "examples").glob("*.yaml") if path.stem != "ner")


def test_there_are_examples() -> None:
    assert {"quick", "standard", "wide", "gpu"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_resolves_with_its_reference(path: Path) -> None:
    spec = load_spec(path)
    assert spec.name == path.stem
    assert parse_spec(spec.to_yaml()) == spec
    space = space_of(spec.axes_before_data())
    reference = space.plain(depth=spec.reference.depth, budget=spec.reference.budget)
    assert reference in space.candidates
    assert {item.architecture.fusion for item in space} == {"none", *spec.space.fusions}
    assert len(space) >= spec.search.trials
    for item in space:
        assert abs(costs_of(item.architecture).parameters / item.budget - 1) <= TOLERANCE_FRAC


def test_quick_example_is_what_make_search_promises() -> None:
    spec = load_spec(next(path for path in EXAMPLES if path.stem == "quick"))
    assert spec.corpus.kind == "stdlib"
    assert spec.search.trials >= 20
    assert max(spec.space.depths) == 12
    assert {"dwa", "dwatt", "concat", "mudd"} < set(spec.space.fusions)
    assert "first:2" in spec.space.wirings


@pytest.mark.parametrize(
    ("name", "rate", "wanted"),
    [
        # The rates that the examples had then.
        ("standard", 0.004, "8678bb3ec29383c4f7f2a23cf32928a2580331b423fb7e51020986f95cc25668"),
        ("gpu", 0.001, "30763f7256a83b9fbf082f7492c1f6d640301b7db475ee18a97122f30d3cf9fa"),
    ],
)
def test_resolved_spec_of_language_models_is_that_of_the_version_with_one_task(
    name: str, rate: float, wanted: str
) -> None:
    path = next(path for path in EXAMPLES if path.stem == name)
    spec = load_spec(path, overrides=[f"recipe.learning_rate={rate}"])
    assert hashlib.sha256(spec.to_yaml().encode()).hexdigest() == wanted


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_plain_transformers_of_an_example_have_one_shape(path: Path) -> None:
    spec = load_spec(path)
    assert unbalanced(space_of(spec.axes_before_data())) == []


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("quick", "c9738622b1aa2b462c759b072fb3667c4ebc4b7963b41013862f337f8f824285"),
        ("standard", "386713c111bb36bc856e5c2a38790f5939e1181c7fc1489c483b402ec3eedd0e"),
        ("gpu", "77a29d618074fef489397db937d2ada5762086935fafb3ca66864677c449df3a"),
    ],
)
def test_candidates_their_names_and_their_order_are_those_of_the_version_with_k_x_p_alone(
    name: str, wanted: str
) -> None:
    # The quick search is wider now; the benchmark beside stock Ray Tune keeps its space.
    path = QUICK if name == "quick" else next(path for path in EXAMPLES if path.stem == name)
    spec = load_spec(path)
    space = space_of(spec.axes_before_data())
    rows: list[list[object]] = [
        [item.architecture.id, _text(item.rule), item.budget, [rule.text for rule in item.spellings]] for item in space
    ]
    for found, architecture_id in space.by_combination.items():
        rows.append([found.fusion, _text(found.rule), found.depth, found.budget, architecture_id])
    for at, reason, enough in space.infeasible:
        rows.append([at.fusion, _text(at.rule), at.depth, at.budget, reason, enough])
    # Computed with the version before wiring rules.
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest() == wanted


def _text(rule: WiringRule | None) -> str | None:
    return None if rule is None else rule.text
