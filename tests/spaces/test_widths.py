"""Widths: the plain transformer keeps its shape across depths of one budget, and the rule of earlier runs stays."""

from __future__ import annotations

from itertools import product

import pytest

from depthweave.spaces.budget import BudgetError, resolve
from depthweave.spaces.widths import fitting_feed_forward, plain_width
from depthweave.spaces.wiring import Wiring

_DEPTHS = (1, 2, 4, 6, 8, 12, 16, 24, 48)
_BUDGETS = tuple(round(20_000 * 1.4**step) for step in range(24))
_HEAD_WIDTHS = (8, 16, 32, 64)


def _ratio(*, depth: int, budget: int, head_width: int, width: int) -> float | None:
    """The plain transformer's feed-forward ratio at that width; `None` where it cannot meet the budget."""
    try:
        found = resolve(
            fusion="none",
            wiring=Wiring(depth),
            budget=budget,
            vocabulary=2,
            context=2,
            head_width=head_width,
            width=width,
        )
    except BudgetError:
        return None
    return found.feed_forward / found.width


def _by_trying_all(*, depth: int, budget: int, head_width: int) -> list[int]:
    """Every width whose plain ratio lies between 2 and 5."""
    # A single block has 6 widths squared at a ratio of 1.
    most = int((budget / (6 * depth)) ** 0.5) + 2 * head_width
    ratios = {
        width: _ratio(depth=depth, budget=budget, head_width=head_width, width=width)
        for width in range(head_width, most, head_width)
    }
    return [width for width, ratio in ratios.items() if ratio is not None and 2 <= ratio <= 5]


@pytest.mark.parametrize("head_width", _HEAD_WIDTHS)
def test_ratio_lies_between_2_and_5_wherever_any_width_gives_that(head_width: int) -> None:
    num_inside, num_outside, num_mended = 0, 0, 0
    for depth, budget in product(_DEPTHS, _BUDGETS):
        width = plain_width(depth=depth, budget=budget, head_width=head_width)
        inside = _by_trying_all(depth=depth, budget=budget, head_width=head_width)
        num_inside, num_outside = num_inside + bool(inside), num_outside + (not inside)
        num_mended += plain_width(depth=depth, budget=budget, head_width=head_width, sizing="nearest") not in inside
        assert not inside or width in inside, (depth, budget)
    assert num_inside > 50
    assert num_mended > num_outside


@pytest.mark.parametrize(
    ("depth", "budget", "width"),
    [
        (8, 150_000, 48),  # 2.1 widths where the nearest, 32, has 7.1
        (16, 300_000, 48),
        (4, 150_000, 64),  # 2.6 for 6.1
        (12, 150_000, 32),  # 4.1 either way
        (6, 300_000, 64),
        (24, 150_000, 16),  # no width: 10.1 is nearer to 4 than 1.0, as a factor
    ],
)
def test_widths_worked_out_by_hand(depth: int, budget: int, width: int) -> None:
    assert plain_width(depth=depth, budget=budget, head_width=16) == width


def test_width_never_falls_as_the_budget_grows() -> None:
    # The smallest budget that can be met is found by this.
    for depth, head_width in product((3, 8, 24), (8, 32)):
        widths = [plain_width(depth=depth, budget=round(60_000 * 1.01**i), head_width=head_width) for i in range(400)]
        assert widths == sorted(widths)
        assert len(set(widths)) > 3


def test_nearest_is_the_multiple_of_a_head_nearest_to_the_ideal_width() -> None:
    # sqrt(150,000 / (8 * 12)) = 39.5: 2.47 heads of 16.
    assert plain_width(depth=8, budget=150_000, head_width=16, sizing="nearest") == 32


def test_feed_forward_takes_the_kindest_multiple_that_stays_within_the_rounding() -> None:
    # 256 + (300,000 - 200,000) / 1,000 = 356 wanted; 352 is 1.3 % off, 360 as well, 356 exact.
    assert fitting_feed_forward(budget=300_000, smallest=256, parameters=200_000, unit=1_000) == 356
    # 1,589 wanted; 1,600, a multiple of 64, is 0.3 % off.
    assert fitting_feed_forward(budget=300_000, smallest=256, parameters=200_000, unit=75) == 1_600


def test_feed_forward_whose_steps_are_coarser_than_the_tolerance_fits_nothing() -> None:
    assert fitting_feed_forward(budget=1_000, smallest=8, parameters=900, unit=300) is None
