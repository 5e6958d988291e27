"""Rules that join no states are named: they were asked for, and the space has no architecture of them."""

from __future__ import annotations

from typing import Any

import pytest

from depthweave.spaces.idle_rules import idle_rules, idle_sentences
from depthweave.spaces.space import Axes, SearchSpace, enumerate_space


def _space(**changes: Any) -> SearchSpace:
    values: dict[str, Any] = {"dilations": (1,), "periods": (1,), "depths": (4, 6), "budgets": (60_000,)}
    values |= {"fusions": ("none", "dwa"), "vocabulary": 256, "context": 32, "head_width": 16, **changes}
    return enumerate_space(Axes(**values))


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, []),
        ({"dilations": (1, 6, 7)}, ["7x1"]),
        ({"periods": (1, 6, 9)}, ["1x9"]),
        # Period 5 has a site with 6 blocks alone.
        ({"periods": (5, "depth")}, []),
        ({"dilations": (), "periods": (), "wirings": ("1x9", "9x1", "first:2")}, ["1x9", "9x1"]),
        # A stream reads none of these states and has one graph under every rule.
        ({"fusions": ("none", "dwa", "hc2"), "periods": (9,)}, []),
    ],
)
def test_rules_that_read_no_earlier_state(changes: dict[str, Any], idle: list[str]) -> None:
    assert [rule.short for rule in idle_rules(_space(**changes))] == idle


def test_sentence_names_rules_and_depths() -> None:
    (line,) = idle_sentences(_space(periods=(1, 9), dilations=(1, 2)))
    assert line.startswith(
        "1x9, 2x9: no earlier state is read at depth 4, 6, so the space has no architecture of these"
    )
    assert idle_sentences(_space()) == []
