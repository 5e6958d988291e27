"""How long a spec trains its models for their size, and the number of steps that is recommended."""

from __future__ import annotations

import math

from depthweave.reports.analysis.training_tokens import OPTIMAL, UNDERTRAINED, ratio_of, ratio_phrase
from depthweave.reports.formatting import count_text, plural
from depthweave.search.learning_rates import rate_of_width, representatives, short_recipe
from depthweave.search.spec.schema import Spec
from depthweave.search.spec.task_objectives import DEFAULT_TASK
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import SearchSpace


def training_sentences(space: SearchSpace, *, spec: Spec) -> list[str]:
    """Returns the tokens a parameter of the largest models, and the steps for 20 of them if there are fewer than 10.

    Then the learning rates by width, or what it costs to choose them, if the spec does not give one rate. Empty for
    other tasks than language modelling.
    """
    if spec.task != DEFAULT_TASK:
        return []
    return [*_length_sentences(space, spec=spec), *_rates_sentences(space, spec=spec)]


def _length_sentences(space: SearchSpace, *, spec: Spec) -> list[str]:
    recipe = spec.recipe
    # All architectures of a depth and budget have the same width, and parameters within 1 %.
    plain = [costs_of(space[own].architecture) for key, own in space.by_combination.items() if key.fusion == "none"]
    largest = max((it.parameters + it.embedding_parameters for it in plain), default=0)
    if not largest:
        return []
    ratio = ratio_of(recipe.tokens, parameters=largest)
    text = f"training: {count_text(recipe.tokens)} tokens, {ratio_phrase(ratio)} at {count_text(largest)} parameters"
    if ratio >= UNDERTRAINED:
        return [text]
    steps = math.ceil(OPTIMAL * largest / recipe.tokens_per_step)
    return [f"{text}; for {OPTIMAL} tokens a parameter: --set recipe.steps={steps}"]


def _rates_sentences(space: SearchSpace, *, spec: Spec) -> list[str]:
    if spec.rate_by_width:
        widths = sorted({item.architecture.width for item in space})
        return ["learning rate: " + ", ".join(f"{rate_of_width(width):g} at width {width}" for width in widths)]
    if not spec.learning_rates:
        return []
    groups, short = len(representatives(space)), short_recipe(spec)
    count = groups * len(spec.learning_rates)
    share = count * short.tokens / (spec.recipe.tokens * min(spec.search.trials, len(space)))
    return [
        f"learning rates: {len(spec.learning_rates)} to choose from for each of "
        f"{plural(groups, 'pair')} of fusion family and depth, by {count} trainings of "
        f"{short.steps:,} steps before the first trial ({share:.0%} of the tokens of all trials, if none is stopped)"
    ]
