"""Which sentences a batch holds, and where their tokens are among those of all sentences.

Axes: B sentences, T tokens. Sentence i has the tokens from `starts[i]` to `starts[i + 1]`.

A training batch follows from the recipe's seed and the number of the step alone. So every head sees the same sentences
in the same order, and a resumed training continues exactly.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.word_pieces import IntArray

Rows: TypeAlias = IntArray
"""Numbers of sentences."""


class Places(NamedTuple):
    """Positions of tokens [B, T], 0 where there is none, and a mask that is true where there is one."""

    positions_BT: IntArray
    mask_BT: NDArray[np.bool_]


def training_rows(rows: Rows, *, recipe: Recipe, step: int) -> Rows:
    """Returns the sentences of step number `step`: the next ones of an endless row of shuffled passes over all."""
    numbers = np.arange(step * recipe.batch, (step + 1) * recipe.batch)
    passes, places = numbers // len(rows), numbers % len(rows)
    orders = {
        number: np.random.default_rng([recipe.seed, number]).permutation(len(rows)) for number in np.unique(passes)
    }
    return np.array([rows[orders[number][place]] for number, place in zip(passes, places, strict=True)], dtype=np.int64)


def length_batches(starts: IntArray, rows: Rows, *, max_tokens: int) -> list[Rows]:
    """Returns the sentences in batches of neighbouring lengths, the longest first, padded to at most `max_tokens`.

    A longer sentence is a batch of its own.
    """
    lengths = starts[rows + 1] - starts[rows]
    ordered = rows[np.argsort(-lengths, kind="stable")]
    batches = []
    while len(ordered):
        longest = max(1, int(starts[ordered[0] + 1] - starts[ordered[0]]))
        size = max(1, max_tokens // longest)
        batches.append(ordered[:size])
        ordered = ordered[size:]
    return batches


def evenly_spaced(starts: IntArray, rows: Rows, *, max_tokens: int) -> Rows:
    """Returns all sentences, or evenly spaced ones where all have more than `max_tokens`: then about that many."""
    total = int((starts[rows + 1] - starts[rows]).sum())
    num = len(rows) if total <= max_tokens else max(1, len(rows) * max_tokens // total)
    return rows[np.linspace(0, len(rows) - 1, num).astype(np.int64)]


def padded(starts: IntArray, rows: Rows) -> Places:
    """Returns the tokens of each sentence in a line of its own, padded at its end."""
    lengths_B = starts[rows + 1] - starts[rows]
    steps_T = np.arange(lengths_B.max(initial=0))
    mask_BT = steps_T < lengths_B[:, None]
    return Places(np.where(mask_BT, starts[rows][:, None] + steps_T, 0), mask_BT)


def packed(starts: IntArray, rows: Rows, *, wanted: NDArray[np.bool_]) -> Places:
    """Returns the wanted tokens of all sentences in one line, without padding: for what treats tokens one by one."""
    places = padded(starts, rows)
    positions = places.positions_BT[places.mask_BT]
    positions = positions[wanted[positions]]
    return Places(positions[None], np.ones((1, len(positions)), dtype=np.bool_))
