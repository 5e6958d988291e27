"""Batches equal those of a plain loop and depend on seed and step; validation sequences cover their part evenly."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from depthweave.trainers.batches import draw_batch, validation_set
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tokens import TokenSet

_CPU = torch.device("cpu")


def test_draw_batch_equals_a_plain_loop_over_drawn_starts(tokens: TokenSet, recipe: Recipe) -> None:
    starts = np.random.default_rng([recipe.seed, 7]).integers(0, len(tokens.train) - recipe.context, size=recipe.batch)
    batch = draw_batch(tokens.train, recipe=recipe, step=7, device=_CPU)
    for row, start in enumerate(starts):
        window = tokens.train[start : start + recipe.context + 1].tolist()
        assert batch.tokens_BT[row].tolist() == window[:-1]
        assert batch.targets_BT[row].tolist() == window[1:]


def test_draw_batch_depends_on_seed_and_step(tokens: TokenSet, recipe: Recipe) -> None:
    first = draw_batch(tokens.train, recipe=recipe, step=0, device=_CPU).tokens_BT
    other_seed = dataclasses.replace(recipe, seed=recipe.seed + 1)
    assert torch.equal(first, draw_batch(tokens.train, recipe=recipe, step=0, device=_CPU).tokens_BT)
    assert not torch.equal(first, draw_batch(tokens.train, recipe=recipe, step=1, device=_CPU).tokens_BT)
    assert not torch.equal(first, draw_batch(tokens.train, recipe=other_seed, step=0, device=_CPU).tokens_BT)


def test_draw_batch_from_the_smallest_part_reads_all_of_it() -> None:
    recipe = Recipe(batch=8, context=4, evaluation_tokens=4)
    part = np.arange(6, dtype=np.uint16)
    windows = draw_batch(part, recipe=recipe, step=0, device=_CPU)
    assert set(windows.tokens_BT[:, 0].tolist()) == {0, 1}
    assert windows.targets_BT.max() == 5


def test_validation_set_is_evenly_spaced_and_does_not_overlap(tokens: TokenSet, recipe: Recipe) -> None:
    numbered = dataclasses.replace(tokens, valid=np.arange(1000, dtype=np.uint16) % 200)
    found = validation_set(numbered, recipe=recipe, device=_CPU)
    assert found.tokens_BT.shape == (8, 16)
    assert torch.equal(found.targets_BT[:, :-1], found.tokens_BT[:, 1:])
    assert found.tokens_BT[0, 0] == 0
    assert found.targets_BT[-1, -1] == 999 % 200
    assert found.target_bytes == 8 * 16


def test_validation_set_of_everything_reads_every_target_but_a_remainder(tokens: TokenSet) -> None:
    recipe = Recipe(context=10, evaluation_tokens=10**9)
    found = validation_set(tokens, recipe=recipe, device=_CPU)
    assert found.tokens_BT.numel() == (len(tokens.valid) - 1) // 10 * 10
    ends = int((found.targets_BT == 255).sum())
    assert ends > 0
    assert found.target_bytes == found.targets_BT.numel() - ends


def test_validation_set_is_the_same_for_every_seed(tokens: TokenSet, recipe: Recipe) -> None:
    other = dataclasses.replace(recipe, seed=99, batch=2)
    first, second = (validation_set(tokens, recipe=one, device=_CPU) for one in (recipe, other))
    assert torch.equal(first.tokens_BT, second.tokens_BT)
