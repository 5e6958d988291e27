"""The nearest known name."""

from __future__ import annotations

from depthweave.spaces.known_names import did_you_mean


def test_the_nearest_name_and_all_known_names_are_given() -> None:
    assert did_you_mean("medan", ["mean", "median", "none"]) == "did you mean 'median'? Known: mean, median, none"


def test_a_name_that_resembles_none_gets_one_all_the_same() -> None:
    assert did_you_mean("?", iter(["a", "b"])).endswith("Known: a, b")


def test_without_known_names_the_answer_says_so() -> None:
    assert did_you_mean("a", []) == "none is known"
