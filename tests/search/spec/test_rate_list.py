"""A list as `recipe.learning_rate`: read from a file and written back, or refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from depthweave.search.spec.loading import SpecError, make_spec, parse_spec
from depthweave.search.spec.schema import Spec, differences
from depthweave.trainers import Recipe


@pytest.mark.parametrize("written", ["[8e-3, 0.002, 4e-3]", "[0.004, 0.002, 0.008]"])
def test_list_is_sorted_and_read_back_equal(written: str) -> None:
    # YAML reads `8e-3` as text.
    spec = make_spec({}, overrides=[f"recipe.learning_rate={written}"])
    assert spec.learning_rates == (0.002, 0.004, 0.008)
    assert spec.recipe == Recipe(learning_rate=0.004), "the middle one"
    assert spec.values()["recipe"]["learning_rate"] == [0.002, 0.004, 0.008]
    assert parse_spec(spec.to_yaml()) == spec
    (change,) = differences(spec, make_spec({}))
    assert change.startswith("recipe.learning_rate is [0.002, 0.004, 0.008], was ")


def test_one_rate_is_the_recipes_own() -> None:
    assert make_spec({"recipe": {"learning_rate": [0.01]}}) == make_spec({"recipe": {"learning_rate": 0.01}})
    assert Spec().learning_rates == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "give one rate, or a list of 2 to 8"),
        ([0.001 * number for number in range(1, 10)], "give one rate, or a list of 2 to 8"),
        ([0.001, "fast"], "every rate must be a number above 0"),
        ([0.001, -0.001], "every rate must be a number above 0"),
        ([0.001, float("nan")], "every rate must be a number above 0"),
        ([True, 0.001], "every rate must be a number above 0"),
        ([[0.001], 0.002], "every rate must be a number above 0"),
        ([0.001, "1e-3"], "a rate is there twice"),
    ],
)
def test_list_that_nothing_can_be_chosen_from_is_refused(given: list[Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        make_spec({"recipe": {"learning_rate": given}}, where="my.yaml")
    assert str(caught.value).startswith("my.yaml: recipe.learning_rate is [")


def test_auto_is_a_rate_by_width_and_read_back_equal() -> None:
    spec = make_spec({"recipe": {"learning_rate": "auto"}})
    assert (spec.rate_by_width, spec.learning_rates) == (True, ())
    assert spec.recipe == Recipe()
    assert spec.values()["recipe"]["learning_rate"] == "auto"
    assert parse_spec(spec.to_yaml()) == spec
    assert make_spec({}) == make_spec({"recipe": {}}) == spec == Spec(), "the default"
    one = make_spec({"recipe": {"learning_rate": 0.004}})
    assert differences(spec, one) == ["recipe.learning_rate is 'auto', was 0.004"]
    with pytest.raises(SpecError, match=r"recipe.learning_rate: Input should be a valid number.*'automatic'"):
        make_spec({"recipe": {"learning_rate": "automatic"}})


@pytest.mark.parametrize("given", [[0.001, 0.002], "auto"])
def test_heads_have_their_own_multiples_of_one_rate(given: Any) -> None:
    values = {
        "task": "token_classification",
        "host": {"path": "folder"},
        "corpus": {"train": "train.conll", "validation": "valid.conll"},
        "recipe": {"learning_rate": given},
    }
    with pytest.raises(SpecError, match="give one rate for token_classification, whose heads have"):
        make_spec(values)
