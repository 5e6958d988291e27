"""Every example spec parses, resolves and holds its reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthweave.search.preparation import space_of
from depthweave.search.spec.loading import load_spec, parse_spec
from depthweave.spaces.balance import unbalanced
from depthweave.spaces.costs import costs_of
from depthweave.spaces.widths import TOLERANCE_FRAC
from depthweave.trainers import TokenizerSpec

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_there_are_examples() -> None:
    assert {"quick", "standard", "gpu"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_resolves_with_its_reference(path: Path) -> None:
    spec = load_spec(path)
    assert spec.name == path.stem
    assert parse_spec(spec.to_yaml()) == spec
    space = space_of(spec, vocabulary=TokenizerSpec.parse(spec.tokenizer).vocabulary)
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
    assert set(spec.space.fusions) == {"none", "dwa", "dwatt", "concat"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_plain_transformers_of_an_example_have_one_shape(path: Path) -> None:
    spec = load_spec(path)
    assert unbalanced(space_of(spec, vocabulary=TokenizerSpec.parse(spec.tokenizer).vocabulary)) == []
