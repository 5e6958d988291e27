"""Keys and values of the tokens that a decoder has seen.

Axes: B batch, T tokens, H heads, K head width.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

_LEAST_ROOM = 32
"""Tokens that a decoding cache has room for at first."""


class TokenCache(Protocol):
    """What a pass reads and extends: `DecodingCache`, or another library's behind the same two names."""

    num_tokens: int
    """Tokens seen so far."""

    def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a block, the new ones appended; of blocks 1 to depth, in order."""


class DecodingCache:
    """Keys and values of the tokens seen so far, [B, H, T, K] a block, in room that doubles as it fills.

    For decoding without gradients. To forget tokens from the end, lower `num_tokens`.
    """

    def __init__(self) -> None:
        self.num_tokens = 0
        self._rooms: dict[int, tuple[_Room, _Room]] = {}

    def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a block, the new ones appended."""
        keys, values = self._rooms.setdefault(block, (_Room(), _Room()))
        return keys.put(key_BHTK, self.num_tokens), values.put(value_BHTK, self.num_tokens)


class _Room:
    def __init__(self) -> None:
        self._whole: Tensor | None = None

    def put(self, new_BHTK: Tensor, start: int) -> Tensor:
        """All up to the new ones, which stand from `start` on."""
        end = start + new_BHTK.shape[2]
        whole = self._whole
        if whole is None or whole.shape[2] < end:
            batch, heads, _, width = new_BHTK.shape
            larger = new_BHTK.new_empty(batch, heads, max(_LEAST_ROOM, 2 * end), width)
            if whole is not None:
                larger[:, :, :start] = whole[:, :, :start]
            self._whole = whole = larger
        whole[:, :, start:end] = new_BHTK
        return whole[:, :, :end]
