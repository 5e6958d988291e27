"""How long a spec trains its models for their size, and the number of steps that is recommended."""

from __future__ import annotations

import math

from depthweave.reports.analysis.training_tokens import OPTIMAL, UNDERTRAINED, ratio_of, ratio_phrase
from depthweave.reports.formatting import count_text
from depthweave.search.spec.schema import Spec
from depthweave.search.spec.task_objectives import DEFAULT_TASK
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import SearchSpace


def training_sentences(space: SearchSpace, *, spec: Spec) -> list[str]:
    """Returns the tokens a parameter of the largest models, and the steps for 20 of them if there are fewer than 10.

    Empty for other tasks than language modelling.
    """
    if spec.task != DEFAULT_TASK:
        return []
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
