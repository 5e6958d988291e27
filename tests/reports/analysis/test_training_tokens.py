"""Tokens a parameter, and the note on short trainings."""

from __future__ import annotations

import pytest

from depthweave.reports.analysis.training_tokens import (
    range_phrase,
    ratio_cell,
    ratio_phrase,
    ratio_text,
    tokens_per_parameter,
    training_sentence,
)
from tests.reports.synthetic import make_record


def test_embedding_counts() -> None:
    record = make_record(tokens=1_000_000, parameters=80_000, embedding_parameters=20_000)
    assert tokens_per_parameter(record) == pytest.approx(10.0)


def test_fewer_than_ten_are_undertrained() -> None:
    assert ratio_phrase(10.0) == "10 tokens a parameter"
    # Not rounded to ten.
    assert ratio_phrase(9.99) == "9.9 tokens a parameter (undertrained: rankings may change)"
    assert (ratio_text(0.098), ratio_text(0.1), ratio_text(0.0)) == ("0.09", "0.1", "0.00")
    assert ratio_text(20.4) == "20"
    assert ratio_text(1234.0) == "1,234"


def test_several_are_judged_by_the_lowest() -> None:
    assert range_phrase([30.0, 2.0]) == "2.0 to 30 tokens a parameter (undertrained: rankings may change)"
    assert range_phrase([20.0, 20.1]) == "20 tokens a parameter"


def test_sentence_leaves_out_trials_that_did_not_end() -> None:
    ended = make_record(0, tokens=2_000_000, parameters=90_000, embedding_parameters=10_000)
    stopped = make_record(1, tokens=1_000, state="pruned", perplexity=None, loss=None)
    assert training_sentence([ended, stopped]) == " Complete trainings saw 20 tokens a parameter."
    assert training_sentence([stopped]) == ""
    assert (ratio_cell(ended), ratio_cell(stopped)) == ("20", "-")
