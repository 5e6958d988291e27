"""Recipes: schedules in closed form, a JSON round trip, and errors that name bad values."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from depthweave.trainers.recipe import Recipe


def test_learning_rate_at_matches_the_closed_form() -> None:
    recipe = Recipe(steps=101, learning_rate=1.0, min_lr_frac=0.2, warmup_frac=0.1)
    rates = [recipe.learning_rate_at(step) for step in range(recipe.steps)]
    assert rates[:11] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert rates[11] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.2)
    middle = (11 + 100) / 2
    assert recipe.learning_rate_at(int(middle)) == pytest.approx(
        0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * (int(middle) - 11) / 89))
    )
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("warmup_frac", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_learning_rate_at_extremes_stays_in_range(steps: int, warmup_frac: float) -> None:
    recipe = Recipe(steps=steps, num_evaluations=1, warmup_frac=warmup_frac, learning_rate=0.5)
    assert all(0.0 < recipe.learning_rate_at(step) <= 0.5 for step in range(steps))


@pytest.mark.parametrize(("steps", "num_evaluations"), [(1, 1), (10, 10), (100, 7), (9, 4)])
def test_evaluation_steps_rise_evenly_to_the_last_step(steps: int, num_evaluations: int) -> None:
    found = Recipe(steps=steps, num_evaluations=num_evaluations).evaluation_steps()
    assert len(found) == num_evaluations
    assert found[-1] == steps
    gaps = [after - before for before, after in zip((0, *found), found, strict=False)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


def test_recipe_through_json_is_equal() -> None:
    recipe = Recipe(seed=4, grad_clip=None, precision="bfloat16", betas=(0.8, 0.9))
    again = Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe))))
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert recipe.tokens == recipe.steps * recipe.batch * recipe.context


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch", 0),
        ("context", -1),
        ("seed", -1),
        ("num_evaluations", 501),
        ("evaluation_tokens", 127),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("min_lr_frac", 1.1),
        ("warmup_frac", -0.1),
        ("weight_decay", -1.0),
        ("connection_lr_factor", -1.0),
        ("grad_clip", 0.0),
        ("betas", (0.9, 1.0)),
        ("betas", (0.9,)),
        ("precision", "float16"),
    ],
)
def test_recipe_with_a_bad_value_names_field_value_and_rule(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^recipe\.{field} is .*; it (must|can) be [^\n]+$"):
        Recipe(**{field: value})  # type: ignore[arg-type]
