"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from depthweave.reports.formatting import (
    STATE_WORDS,
    Axis,
    axis_of,
    bytes_text,
    count_text,
    duration_text,
    full_name,
    plural,
    short_name,
    show,
)
from depthweave.reports.store.records import STATES
from depthweave.reports.wirings import wiring_name
from tests.reports.synthetic import make_record


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("perplexity", 3.91449, "3.914"),
        ("perplexity", 12345.6, "1.235e+04"),
        ("perplexity", None, "-"),
        ("loss", 1.36, "1.360 nat/token"),
        ("latency", 1.0849, "1.08×"),
        ("memory_bytes", 432 * 2**20, "432 MiB"),
        ("parameters", 1_234_567, "1.23 M"),
        ("forward_flops", 2_400_000, "2.40 Mflop/token"),
        ("forward_flops", 500, "500 flop/token"),
        ("tokens", 400_000, "400,000"),
    ],
)
def test_show(column: str, value: float | None, text: str) -> None:
    assert show(column, value) == text


@pytest.mark.parametrize(
    ("column", "values", "axis"),
    [
        ("memory_bytes", [2**20, 3 * 2**20], Axis("memory of a training step (MiB)", 2**20)),
        ("memory_bytes", [], Axis("memory of a training step (B)", 1)),
        ("parameters", [300_000, 600_000], Axis("parameters without embedding (k)", 1e3)),
        ("parameters", [30], Axis("parameters without embedding", 1)),
        ("forward_flops", [3e6], Axis("operations of a forward pass (Mflop/token)", 1e6)),
        ("latency", [1.0], Axis("forward latency (× reference)", 1)),
        ("perplexity", [4.0], Axis("validation perplexity", 1)),
        ("loss", [4.0], Axis("validation loss (nat/token)", 1)),
    ],
)
def test_axis_of_unit_suits_the_largest(column: str, values: list[float], axis: Axis) -> None:
    assert axis_of(column, values) == axis


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (1.54, "1.5 s"), (42.3, "42 s"), (312, "5 min 12 s"), (11_100, "3 h 05 min")]
)
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_counts_and_plurals() -> None:
    assert (bytes_text(0), bytes_text(1536), bytes_text(5 * 2**30)) == ("0.00 B", "1.50 KiB", "5.00 GiB")
    assert (count_text(640), count_text(12_345_678)) == ("640", "12.3 M")
    assert (plural(1, "trial"), plural(1200, "trial")) == ("1 trial", "1,200 trials")


def test_names_of_architectures() -> None:
    assert full_name(make_record(0)) == "dwa 4×5, 12 blocks"
    plain = make_record(0, fusion="none", dilation=1, period=1, depth=1)
    assert (short_name(plain), full_name(plain), wiring_name(plain)) == ("none", "none, 1 block", "")


def test_every_state_has_a_word() -> None:
    assert tuple(STATE_WORDS) == STATES
