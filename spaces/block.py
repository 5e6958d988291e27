"""A transformer block: attention and feed-forward layers, each after a norm, with a residual.

A fusion may give a block several inputs, or carry the residual itself. Then the block runs one layer at a time and
returns only what the layer adds.

Axes: B batch, T tokens, D width, H heads, K head width, S tokens that are attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.decoding_cache import TokenCache
from depthweave.spaces.rotary import rotate


class BlockStep(NamedTuple):
    """What a block needs for a pass besides its inputs."""

    number: int
    """The block's number, from 1."""
    rotary: tuple[Tensor, Tensor]
    """Cosines and sines of the tokens' positions."""
    cache: TokenCache | None = None
    mask_BHTS: Tensor | None = None
    """True where a token sees another, or numbers that are added to the scores; replaces the causal mask."""
    part: Literal["both", "attention", "feed_forward"] = "both"
    """`both` returns the state after the block; the others return the increment of one layer, without the residual."""
    keeps_value: bool = False
    """Whether the attention's values [B, H, T, K] are returned beside the state."""


class Block(nn.Module):
    """One block. `own_norms` names the inputs, among `key` and `value`, that have a norm of their own."""

    def __init__(self, width: int, heads: int, feed_forward: int, *, own_norms: Sequence[str] = ()) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.feed_forward = FeedForward(width, feed_forward)
        self.own_norms = nn.ModuleDict({name: nn.LayerNorm(width, bias=False) for name in own_norms})

    def forward(
        self,
        x_BTD: Tensor,
        step: BlockStep,
        query_BTD: Tensor | None = None,
        key_BTD: Tensor | None = None,
        value_BTD: Tensor | None = None,
        first_value_BHTK: Tensor | None = None,
        value_share: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the state after the block, or what `step.part` names, given the residual `x_BTD`.

        The attention reads the residual unless other inputs are given. Keys and values without a norm of their own are
        the query's. With a `first_value_BHTK` the values v become v + share (first_value - v).
        """
        added_BTD: Tensor
        if step.part == "feed_forward":
            added_BTD = self.feed_forward(self.feed_forward_norm(x_BTD))
            return added_BTD
        normed = self._normed(x_BTD if query_BTD is None else query_BTD, key_BTD, value_BTD)
        added_BTD, value_BHTK = self.attention(normed, step, first_value_BHTK, value_share)
        if step.part == "attention":
            return added_BTD
        x_BTD = x_BTD + added_BTD
        x_BTD = x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
        return (x_BTD, value_BHTK) if step.keeps_value else x_BTD

    def _normed(self, query_BTD: Tensor, key_BTD: Tensor | None, value_BTD: Tensor | None) -> list[Tensor]:
        """Returns the attention's normed input, or three of them if some have their own norm."""
        normed_BTD = self.attention_norm(query_BTD)
        if not len(self.own_norms):
            return [normed_BTD]
        given = {"key": key_BTD, "value": value_BTD}
        return [
            normed_BTD,
            *(self.own_norms[name](x) if name in self.own_norms else normed_BTD for name, x in given.items()),
        ]


class JointLinear(nn.Linear):
    """A linear layer whose output has three equal parts, which may each have their own input."""

    def forward(self, input: Tensor, *others: Tensor) -> Tensor:
        """Returns the output [..., O]; with two further inputs, each of the three computes its third."""
        if not others:
            return super().forward(input)
        thirds = zip((input, *others), self.weight.chunk(3), strict=True)
        return torch.cat([F.linear(x, weight) for x, weight in thirds], dim=-1)


class Attention(nn.Module):
    """Causal attention with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into = JointLinear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        inputs: Sequence[Tensor],
        step: BlockStep,
        first_value_BHTK: Tensor | None = None,
        value_share: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns the output [B, T, D] and the values of these tokens [B, H, T, K], given one input or three."""
        batch, tokens, width = inputs[0].shape
        parts = self._projected(inputs).view(batch, tokens, 3 * self.heads, width // self.heads).transpose(1, 2)
        # One pass rotates queries and keys.
        rotated = rotate(parts[:, : 2 * self.heads], step.rotary)
        query_BHTK, key_BHTK = rotated.split(self.heads, dim=1)
        value_BHTK = own_value_BHTK = parts[:, 2 * self.heads :]
        if first_value_BHTK is not None and value_share is not None:
            value_BHTK = value_BHTK + value_share * (first_value_BHTK - value_BHTK)
        mask, seen = step.mask_BHTS, 0
        if step.cache is not None:
            seen = step.cache.num_tokens
            key_BHTK, value_BHTK = step.cache.extend(step.number, key_BHTK, value_BHTK)
            if mask is None and seen and tokens > 1:
                mask = torch.ones(tokens, seen + tokens, dtype=torch.bool, device=key_BHTK.device).tril(seen)
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(query_BHTK.dtype)
        # A single token after others sees them all and needs no mask.
        mixed_BHTK = F.scaled_dot_product_attention(
            query_BHTK, key_BHTK, value_BHTK, attn_mask=mask, is_causal=mask is None and not seen
        )
        out_BTD: Tensor = self.out(mixed_BHTK.transpose(1, 2).reshape(batch, tokens, width))
        return out_BTD, own_value_BHTK

    def _projected(self, inputs: Sequence[Tensor]) -> Tensor:
        projected: Tensor
        if len(inputs) == 1 or isinstance(self.into, JointLinear):
            projected = self.into(*inputs)
        else:
            # An adapter around the layer takes one input at a time.
            projected = torch.cat([self.into(x).chunk(3, dim=-1)[part] for part, x in enumerate(inputs)], dim=-1)
        return projected


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, feed_forward: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, feed_forward, bias=False)
        self.out = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns the increment [B, T, D]."""
        out_BTD: Tensor = self.out(F.gelu(self.into(x_BTD)))
        return out_BTD
