"""Rotary positions: the formula pair by pair, and a backward that turns back."""

from __future__ import annotations

import math

import pytest
import torch

from depthweave.spaces.rotary import rotary_table, rotate


def test_each_pair_is_rotated_by_position_times_frequency() -> None:
    x_BHTK = torch.randn(1, 2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = rotate(x_BHTK, rotary_table(5, 8))
    for position in range(5):
        for pair in range(4):
            angle = position * 10_000.0 ** (-2 * pair / 8)
            for head in range(2):
                first, second = x_BHTK[0, head, position, pair], x_BHTK[0, head, position, pair + 4]
                wanted = first * math.cos(angle) - second * math.sin(angle)
                assert found[0, head, position, pair].item() == pytest.approx(wanted.item(), rel=1e-6, abs=1e-6)
                wanted = first * math.sin(angle) + second * math.cos(angle)
                assert found[0, head, position, pair + 4].item() == pytest.approx(wanted.item(), rel=1e-6, abs=1e-6)


def test_scores_depend_on_distance_alone() -> None:
    rotary = rotary_table(20, 8)
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turned = [rotate(item.expand(1, 1, 20, 8), rotary)[0, 0] for item in (query, key)]
    scores = turned[0] @ turned[1].t()
    for distance in range(-19, 20):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)


def test_lengths_stay_and_the_first_position_is_not_rotated() -> None:
    x_K = torch.randn(8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    turned_TK = rotate(x_K.expand(20, 8), rotary_table(20, 8))
    torch.testing.assert_close(turned_TK.norm(dim=1), x_K.norm().expand(20), rtol=1e-6, atol=0)
    assert torch.equal(turned_TK[0], x_K)


def test_gradient_is_that_of_the_formula() -> None:
    x_BHTK = torch.randn(
        2, 2, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    rotary = tuple(item.double() for item in rotary_table(3, 6))
    assert torch.autograd.gradcheck(lambda x: rotate(x, rotary), x_BHTK)


def test_reduced_precision_is_rotated_in_float32() -> None:
    x_BHTK = torch.randn(1, 1, 64, 16, generator=torch.Generator().manual_seed(3)).bfloat16()
    rotary = rotary_table(64, 16)
    found = rotate(x_BHTK, rotary)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, rotate(x_BHTK.float(), rotary).bfloat16())
