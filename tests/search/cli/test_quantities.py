"""Numbers with a unit."""

from __future__ import annotations

import pytest

from depthweave.search.cli.quantities import parse_seconds, parse_tokens


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)])
def test_seconds_have_the_unit_that_is_given(text: str, seconds: float) -> None:
    assert parse_seconds(text, option="--time-budget") == seconds


@pytest.mark.parametrize(
    ("text", "tokens"), [("7", 7), ("500k", 500_000), ("20M", 20_000_000), ("0.5g", 5 * 10**8), ("1B", 10**9)]
)
def test_tokens_have_the_unit_that_is_given(text: str, tokens: int) -> None:
    assert parse_tokens(text, option="--tokens") == tokens


@pytest.mark.parametrize("text", ["", "k", "inf", "nan", "1x"])
def test_text_that_is_not_a_number_of_tokens_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--tokens .*: give a number, such as 500k or 20M$"):
        parse_tokens(text, option="--tokens")
