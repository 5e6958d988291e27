"""Balance: what is said of depths and budgets whose plain transformer has an unusual shape."""

from __future__ import annotations

from typing import Any

from depthweave.spaces.balance import unbalanced, unbalanced_sentences
from depthweave.spaces.space import Axes, SearchSpace, enumerate_space


def _space(**given: Any) -> SearchSpace:
    values: dict[str, Any] = {
        "fusions": ("dwa",),
        "depths": (12, 24),
        "budgets": (150_000,),
        "vocabulary": 256,
        "context": 64,
        "head_width": 16,
        **given,
    }
    return enumerate_space(Axes(**values))


def test_depth_without_a_usual_width_is_named_once_with_its_ratio() -> None:
    (item,) = unbalanced(_space())
    assert (item.depth, item.budget, item.width) == (24, 150_000, 16)
    assert 10 < item.ratio < 10.5
    (line,) = unbalanced_sentences(_space())
    assert line.startswith("shape: at depth 24 and budget 150,000 the plain transformer's feed-forward layers are 10.")
    assert line.endswith("no multiple of head_width 16 fits, so take a smaller one, or other depths or budgets")


def test_smaller_head_width_is_what_helps() -> None:
    assert unbalanced(_space(head_width=8)) == []


def test_given_width_and_earlier_rule_are_named_as_the_reason() -> None:
    (line, *_) = unbalanced_sentences(_space(width=16))
    assert "leave out space.width, which is 16" in line
    (line,) = unbalanced_sentences(_space(sizing="nearest"))
    assert "take space.sizing ratio instead of nearest" in line


def test_depth_whose_plain_transformer_is_infeasible_is_left_to_the_infeasible() -> None:
    space = _space(depths=(96,), budgets=(30_000,))
    assert space.infeasible
    assert unbalanced(space) == []
