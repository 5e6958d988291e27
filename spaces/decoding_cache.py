"""Keys and values of the tokens that a decoder has seen.

Axes: B batch, T tokens, H heads, K head width.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

_MIN_TOKENS = 32
"""Tokens of the first buffer."""


class TokenCache(Protocol):
    """What a pass reads and extends: `DecodingCache`, or another library's cache with the same two names."""

    num_tokens: int
    """Tokens seen so far."""

    def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Returns all keys and values of a block, the new ones appended; called for blocks 1 to depth, in order."""


class DecodingCache:
    """Keys and values of the tokens seen so far, [B, H, T, K] a block, in buffers that double when they are full.

    For decoding without gradients. To forget tokens from the end, lower `num_tokens`.
    """

    def __init__(self) -> None:
        self.num_tokens = 0
        self._buffers: dict[int, tuple[_Buffer, _Buffer]] = {}

    def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Returns all keys and values of a block, the new ones appended."""
        keys, values = self._buffers.setdefault(block, (_Buffer(), _Buffer()))
        return keys.put(key_BHTK, self.num_tokens), values.put(value_BHTK, self.num_tokens)


class _Buffer:
    def __init__(self) -> None:
        self._whole: Tensor | None = None

    def put(self, new_BHTK: Tensor, start: int) -> Tensor:
        """Writes the new ones from `start` on and returns all up to their end."""
        end = start + new_BHTK.shape[2]
        whole = self._whole
        if whole is None or whole.shape[2] < end:
            batch, heads, _, width = new_BHTK.shape
            larger = new_BHTK.new_empty(batch, heads, max(_MIN_TOKENS, 2 * end), width)
            if whole is not None:
                larger[:, :, :start] = whole[:, :, :start]
            self._whole = whole = larger
        whole[:, :, start:end] = new_BHTK
        return whole[:, :, :end]
