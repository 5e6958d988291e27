"""Which tokens a step trains on and which an evaluation reads. Both depend on the recipe alone.

Axes: B sequences, T tokens of a sequence, W = T + 1 tokens of a window, N tokens of a part.

A training batch follows from the recipe's seed and the number of the step. So every architecture sees the same data in
the same order, and a resumed training continues exactly. Validation sequences are evenly spaced and the same for every
architecture and seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from depthweave.trainers.ranks import SINGLE, Ranks
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tokens import TokenSet, UIntArray


class Batch(NamedTuple):
    """Inputs, and for each of them the token that follows."""

    tokens_BT: Tensor
    targets_BT: Tensor


class ValidationSet(NamedTuple):
    """The sequences of an evaluation, and the number of bytes of text that their targets encode."""

    tokens_BT: Tensor
    targets_BT: Tensor
    target_bytes: int


def draw_batch(part: UIntArray, *, recipe: Recipe, step: int, device: torch.device, ranks: Ranks = SINGLE) -> Batch:
    """Returns the batch of step number `step`: windows that start anywhere in the part, drawn with replacement.

    Where processes share a training, each gets its own windows of that batch.
    """
    generator = np.random.default_rng([recipe.seed, step])
    starts = generator.integers(0, len(part) - recipe.context, size=recipe.batch)[ranks.rows(recipe.batch)]
    windows_BW = _windows(part, starts=starts, context=recipe.context)
    if device.type == "cuda":
        # The copy of pinned memory overlaps with the previous step.
        windows_BW = windows_BW.pin_memory()
    windows_BW = windows_BW.to(device, non_blocking=True)
    return Batch(windows_BW[:, :-1], windows_BW[:, 1:])


def validation_set(tokens: TokenSet, *, recipe: Recipe, device: torch.device) -> ValidationSet:
    """Returns `evaluation_tokens` in evenly spaced sequences that do not overlap; fewer where the part is smaller."""
    return _evaluation_set(tokens.valid, token_bytes=tokens.token_bytes, recipe=recipe, device=device)


def held_out_set(tokens: TokenSet, *, recipe: Recipe, device: torch.device) -> ValidationSet | None:
    """Returns the same for the test part; `None` where that part holds no sequence."""
    if len(tokens.test) < recipe.context + 1:
        return None
    return _evaluation_set(tokens.test, token_bytes=tokens.token_bytes, recipe=recipe, device=device)


def _evaluation_set(part: UIntArray, *, token_bytes: UIntArray, recipe: Recipe, device: torch.device) -> ValidationSet:
    fitting = (len(part) - 1) // recipe.context
    num_sequences = min(recipe.evaluation_tokens // recipe.context, fitting)
    starts = np.linspace(0, len(part) - 1 - recipe.context, num_sequences).astype(np.int64)
    windows_BW = _windows(part, starts=starts, context=recipe.context)
    target_bytes = int(token_bytes[windows_BW[:, 1:].numpy()].sum(dtype=np.int64))
    windows_BW = windows_BW.to(device)
    return ValidationSet(windows_BW[:, :-1], windows_BW[:, 1:], target_bytes)


def _windows(part: UIntArray, *, starts: np.ndarray[tuple[int], np.dtype[np.int64]], context: int) -> Tensor:
    positions_BW = starts[:, None] + np.arange(context + 1)
    return torch.from_numpy(part[positions_BW].astype(np.int64))
