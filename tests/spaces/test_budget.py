"""Budgets: met within 1 %, the same width for every fusion, and an error that names one that can be met."""

from __future__ import annotations

import re
from itertools import product

import pytest

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.budget import BudgetError, resolve
from depthweave.spaces.costs import num_parameters
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.widths import TOLERANCE_FRAC, Sizing, plain_width
from depthweave.spaces.wiring import Wiring, strided_wiring

_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 24, 48)
_BUDGETS = tuple(round(100_000 * 1.5**step) for step in range(18))
_PATTERNS = ((1, 1), (2, 3), (4, 1), (4, 5))


def _wirings(depth: int) -> list[Wiring]:
    return [strided_wiring(depth, period=depth), *(strided_wiring(depth, dilation=k, period=p) for k, p in _PATTERNS)]


def _resolve_or_reason(fusion: str, wiring: Wiring, budget: int) -> Architecture | str:
    try:
        return resolve(fusion=fusion, wiring=wiring, budget=budget, vocabulary=256, context=64)
    except BudgetError as error:
        return str(error)


def test_grid_every_budget_is_met_within_tolerance_or_an_error_names_one_that_is() -> None:
    num_met, num_refused, num_hopeless = 0, 0, 0
    for depth, budget, fusion in product(_DEPTHS, _BUDGETS, FUSIONS):
        for wiring in _wirings(depth):
            at = (fusion, depth, budget, wiring)
            found = _resolve_or_reason(fusion, wiring, budget)
            if isinstance(found, Architecture):
                num_met += 1
                assert abs(num_parameters(found) - budget) <= TOLERANCE_FRAC * budget, at
                assert found.width == plain_width(depth=depth, budget=budget, head_width=32) == 32 * found.heads, at
                assert found.feed_forward >= found.width, at
            elif named := re.search(r"^[^\n]* the smallest larger budget that can be met is ([\d,]+)$", found):
                num_refused += 1
                enough = int(named[1].replace(",", ""))
                again = _resolve_or_reason(fusion, wiring, enough)
                assert isinstance(again, Architecture), at
                assert enough > budget, at
                assert isinstance(_resolve_or_reason(fusion, wiring, enough - 1), str), at
            else:
                num_hopeless += 1
                assert fusion in ("dwatt", "concat"), at
                assert re.search(r"^[^\n]*, nor can a larger budget be met: take fewer connections", found), at
    # A grid that met or refused everything would test only one half.
    assert num_met > 1500
    assert num_refused > 100
    assert num_hopeless > 20


@pytest.mark.parametrize("budget", [1_000, 30_000, 70_000])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_no_budget_between_the_refused_and_the_named_one_can_be_met(fusion: str, budget: int) -> None:
    wiring = strided_wiring(12, dilation=4, period=4)
    with pytest.raises(BudgetError) as caught:
        resolve(fusion=fusion, wiring=wiring, budget=budget, vocabulary=256, context=64)
    enough = int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))
    for between in (*range(budget, enough, 997), enough - 1):
        with pytest.raises(BudgetError):
            resolve(fusion=fusion, wiring=wiring, budget=between, vocabulary=256, context=64)


@pytest.mark.parametrize(("depth", "budget"), [(4, 1_000_000), (12, 3_000_000), (24, 30_000_000), (48, 378_000_000)])
def test_width_is_the_same_for_all_fusions_of_a_depth_and_budget(depth: int, budget: int) -> None:
    resolved = [
        resolve(fusion=fusion, wiring=strided_wiring(depth, period=depth), budget=budget, vocabulary=256, context=64)
        for fusion in FUSIONS
    ]
    assert len({(item.width, item.heads) for item in resolved}) == 1
    plain = resolved[0].feed_forward
    assert all(item.feed_forward <= plain for item in resolved)
    # What dwatt and concat add is not nothing: it is taken from the feed-forward width.
    assert {item.fusion for item in resolved if item.feed_forward < plain} == {"dwatt", "concat"}


def test_width_of_the_papers_48_blocks() -> None:
    # 48 blocks with 378 M parameters, 38.6 M of them in the embedding of 50,304 tokens: width 768.
    assert plain_width(depth=48, budget=378_000_000 - 50_304 * 768, head_width=64) == 768


def test_plain_feed_forward_is_about_four_widths() -> None:
    architecture = resolve(fusion="none", wiring=Wiring(12), budget=12 * 12 * 256**2, vocabulary=256, context=64)
    assert architecture.width == 256
    assert architecture.feed_forward == 1024


def test_given_width_is_kept() -> None:
    architecture = resolve(
        fusion="dwa", wiring=strided_wiring(4), budget=1_000_000, vocabulary=256, context=64, width=96, head_width=48
    )
    assert (architecture.width, architecture.heads) == (96, 2)
    assert abs(num_parameters(architecture) - 1_000_000) <= 10_000


def test_given_width_that_is_too_wide_names_the_budget_that_is_enough_for_it() -> None:
    with pytest.raises(BudgetError, match=r"of width 256 cannot have 100,000 parameters: .* is ([\d,]+)$") as caught:
        resolve(fusion="dwa", wiring=strided_wiring(4), budget=100_000, vocabulary=256, context=64, width=256)
    enough = int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))
    again = resolve(fusion="dwa", wiring=strided_wiring(4), budget=enough, vocabulary=256, context=64, width=256)
    assert (again.width, again.feed_forward) == (256, 256)
    with pytest.raises(BudgetError):
        resolve(fusion="dwa", wiring=strided_wiring(4), budget=enough - 1, vocabulary=256, context=64, width=256)


def _dwa_of_197_253(budget: int, *, sizing: Sizing = "ratio") -> Architecture:
    """Two blocks of width 128 have 197,253 parameters with the smallest feed-forward layers: 1.01 times 195,300."""
    return resolve(
        fusion="dwa", wiring=strided_wiring(2), budget=budget, vocabulary=256, context=64, width=128, sizing=sizing
    )


@pytest.mark.parametrize("budget", [195_300, 195_301, 197_252, 197_253])
def test_smallest_feed_forward_within_one_percent_above_the_budget_is_met(budget: int) -> None:
    found = _dwa_of_197_253(budget)
    assert (found.feed_forward, num_parameters(found)) == (128, 197_253)


def test_smallest_feed_forward_just_over_one_percent_above_is_refused_and_names_the_border() -> None:
    with pytest.raises(BudgetError, match=r"cannot have 195,299 parameters: .* that can be met is 195,300$") as caught:
        _dwa_of_197_253(195_299)
    assert caught.value.enough == 195_300


def test_rule_of_earlier_runs_refuses_what_is_over_the_budget() -> None:
    assert num_parameters(_dwa_of_197_253(197_253, sizing="nearest")) == 197_253
    with pytest.raises(BudgetError, match=r"that can be met is 197,253$"):
        _dwa_of_197_253(195_300, sizing="nearest")


def test_dwatt_with_302_056_parameters_meets_300_000() -> None:
    found = resolve(fusion="dwatt", wiring=strided_wiring(6), budget=300_000, vocabulary=256, context=64, head_width=16)
    assert (found.width, found.feed_forward, num_parameters(found)) == (64, 64, 302_056)


def test_fusion_that_grows_as_fast_as_the_blocks_says_that_no_budget_will_do() -> None:
    with pytest.raises(BudgetError, match="nor can a larger budget be met: take fewer connections"):
        resolve(fusion="concat", wiring=strided_wiring(48), budget=100_000_000, vocabulary=256, context=64)


@pytest.mark.parametrize("budget", [0, -5])
def test_budget_below_1_is_refused(budget: int) -> None:
    with pytest.raises(BudgetError, match=f"^budget is {budget}: it must be a number of parameters, at least 1$"):
        resolve(fusion="none", wiring=Wiring(2), budget=budget, vocabulary=256, context=64)


@pytest.mark.parametrize("head_width", [0, -32, 31])
def test_head_width_that_cannot_turn_pairs_is_refused(head_width: int) -> None:
    with pytest.raises(ValueError, match=f"^head_width is {head_width}: it must be an even number of at least 2$"):
        resolve(fusion="none", wiring=Wiring(2), budget=10**6, vocabulary=256, context=64, head_width=head_width)


def test_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^width is 100 with a head_width of 32: it must be a multiple of that$"):
        resolve(fusion="none", wiring=Wiring(2), budget=10**6, vocabulary=256, context=64, width=100)
