"""The recipe of `depthweave train`: the recipe of the export, with the changes of the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from depthweave.reports.export import Training
from depthweave.search.spec.loading import validated
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.unknown_names import unknown_name
from depthweave.spaces.yaml_text import read_yaml
from depthweave.trainers import FIRST_RECIPE, Recipe

DEFAULT_TOKENS = 1_000_000
"""For an architecture without a recorded training."""


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """What the command line says about the recipe."""

    num_tokens: int | None
    """Tokens to train on; the recorded number where absent."""
    overrides: Sequence[str]
    """`KEY=VALUE` strings."""
    further: bool
    """Whether the training starts from the weights of the export."""


def recorded_recipe(recorded: Training) -> Recipe:
    """Returns the recipe in a `training.yaml`; raises `ValueError`, one line, where it is not valid."""
    return validated({**FIRST_RECIPE, **recorded.recipe}, kind=Recipe, where="training.yaml: recipe")


def recipe_for(
    architecture: Architecture, *, options: RecipeOptions, recorded: Training | None, recorded_width: int
) -> Recipe:
    """Returns the complete recipe.

    At a larger width the learning rate falls in inverse proportion to the width, unless it is given: so Adam's steps on
    matrices keep their effect (Yang et al., "Tensor Programs V", arXiv 2203.03466). At a smaller width it does not
    rise: a search's recipe already has the highest rate at which all its architectures train.
    """
    known = {item.name for item in dataclasses.fields(Recipe)}
    earlier = None if recorded is None else recorded_recipe(recorded)
    values: dict[str, Any] = {"context": architecture.context}
    if earlier is not None:
        values = dataclasses.asdict(earlier)
    if options.further:
        # Another seed: the same one would draw the batches that the model has seen already, in the same order.
        values["seed"] = values.get("seed", 0) + 1
    given = _given(options.overrides, known=sorted(known))
    if architecture.width > recorded_width and "learning_rate" not in given:
        base = values.get("learning_rate", Recipe().learning_rate)
        values["learning_rate"] = float(f"{base * recorded_width / architecture.width:.3g}")
    values |= given
    # Validated twice: the sizes determine the number of steps, which bounds the number of evaluations.
    sizes = {key: value for key, value in values.items() if key not in ("steps", "num_evaluations")}
    first = validated(sizes, kind=Recipe, where="--set")
    num_tokens = options.num_tokens
    if num_tokens is None:
        num_tokens = DEFAULT_TOKENS if earlier is None else earlier.tokens
    steps = given.get("steps", max(1, round(num_tokens / first.tokens_per_step)))
    if "num_evaluations" not in given and isinstance(steps, int):
        values["num_evaluations"] = max(1, min(values.get("num_evaluations", first.num_evaluations), steps))
    return validated({**values, "steps": steps}, kind=Recipe, where="--set")


def _given(overrides: Sequence[str], *, known: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: write KEY=VALUE, for example --set batch=32")
        if key not in known:
            raise ValueError(f"--set {text}: {unknown_name('recipe key', key, known)}")
        try:
            values[key] = read_yaml(value)
        except ValueError as error:
            raise ValueError(f"--set {text}: the value cannot be read as YAML: {error}") from None
    return values
