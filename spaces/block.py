"""A transformer block: attention and feed-forward layers, each after a norm, with a residual.

A fusion may give a block several inputs, or carry the residual itself. Then the block runs one layer at a time and
returns only what the layer adds.

Axes: B batch, T tokens, D width, H heads, K head width, S tokens that are attended to. Keys and values may have fewer
heads than queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.block_style import GPT, BlockStyle
from depthweave.spaces.decoding_cache import TokenCache
from depthweave.spaces.layers import make_feed_forward, make_norm
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

    def __init__(
        self, width: int, heads: int, feed_forward: int, *, own_norms: Sequence[str] = (), style: BlockStyle = GPT
    ) -> None:
        super().__init__()
        self.attention_norm = make_norm(width, style)
        self.attention = Attention(width, heads, style)
        self.feed_forward_norm = make_norm(width, style)
        self.feed_forward = make_feed_forward(width, feed_forward, style)
        self.own_norms = nn.ModuleDict({name: make_norm(width, style) for name in own_norms})

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

        All are [B, T, D]. The attention reads the residual unless other inputs are given. Keys and values that have no
        norm of their own (`own_norms`) read what the query reads. With a `first_value_BHTK` the values v become
        v + share (first_value - v). `step.keeps_value` also returns the attention's own values [B, H, T, K].
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
    """A linear layer without bias whose output has several parts, which may each have their own input."""

    def __init__(self, width: int, parts: tuple[int, ...]) -> None:
        super().__init__(width, sum(parts), bias=False)
        self.parts = parts

    def forward(self, input: Tensor, *others: Tensor) -> Tensor:
        """Returns the output [..., O]; with further inputs, each computes its part."""
        if not others:
            return super().forward(input)
        given = zip((input, *others), self.weight.split(self.parts), strict=True)
        return torch.cat([F.linear(x, weight) for x, weight in given], dim=-1)


class Attention(nn.Module):
    """Causal attention with rotary positions."""

    def __init__(self, width: int, heads: int, style: BlockStyle = GPT) -> None:
        super().__init__()
        self.heads = heads
        self.kv_heads = heads // style.heads_per_kv
        kv_width = style.kv_width(width)
        self.parts = (width, kv_width, kv_width)
        self.into = JointLinear(width, self.parts)
        self.out = nn.Linear(width, width, bias=False)
        norms = ("query", "key") if style.qk_norm else ()
        self.qk_norms = nn.ModuleDict({name: make_norm(width // heads, style) for name in norms})

    def forward(
        self,
        inputs: Sequence[Tensor],
        step: BlockStep,
        first_value_BHTK: Tensor | None = None,
        value_share: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns the output [B, T, D] and the values of these tokens [B, H, T, K], given one input or three."""
        batch, tokens, width = inputs[0].shape
        sizes = (self.heads, self.kv_heads, self.kv_heads)
        parts = self._projected(inputs).view(batch, tokens, sum(sizes), width // self.heads).transpose(1, 2)
        # One pass rotates queries and keys.
        rotated = rotate(self._normed(parts[:, : self.heads + self.kv_heads]), step.rotary)
        query_BHTK, key_BHTK = rotated.split(sizes[:2], dim=1)
        value_BHTK = own_value_BHTK = parts[:, self.heads + self.kv_heads :]
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
        mixed_BHTK = self._attended(query_BHTK, key_BHTK, value_BHTK, mask=mask, causal=mask is None and not seen)
        out_BTD: Tensor = self.out(mixed_BHTK.transpose(1, 2).reshape(batch, tokens, width))
        return out_BTD, own_value_BHTK

    def _normed(self, both_BHTK: Tensor) -> Tensor:
        """Returns queries and keys, normed if the style has norms for them."""
        if not len(self.qk_norms):
            return both_BHTK
        query_BHTK, key_BHTK = both_BHTK.split((self.heads, self.kv_heads), dim=1)
        return torch.cat([self.qk_norms["query"](query_BHTK), self.qk_norms["key"](key_BHTK)], dim=1)

    def _attended(
        self, query_BHTK: Tensor, key_BHTK: Tensor, value_BHTK: Tensor, *, mask: Tensor | None, causal: bool
    ) -> Tensor:
        if self.heads == self.kv_heads:
            return F.scaled_dot_product_attention(query_BHTK, key_BHTK, value_BHTK, attn_mask=mask, is_causal=causal)
        shares = mask is None or query_BHTK.device.type == "cpu"
        if not shares:
            # On a GPU the only kernel that takes a mask and shared keys holds a matrix of all pairs of tokens.
            key_BHTK = key_BHTK.repeat_interleave(self.heads // self.kv_heads, dim=1)
            value_BHTK = value_BHTK.repeat_interleave(self.heads // self.kv_heads, dim=1)
        return F.scaled_dot_product_attention(
            query_BHTK, key_BHTK, value_BHTK, attn_mask=mask, is_causal=causal, enable_gqa=shares
        )

    def _projected(self, inputs: Sequence[Tensor]) -> Tensor:
        projected: Tensor
        if len(inputs) == 1 or isinstance(self.into, JointLinear):
            projected = self.into(*inputs)
        else:
            # An adapter around the layer takes one input at a time.
            parts = [self.into(x).split(self.parts, dim=-1)[part] for part, x in enumerate(inputs)]
            projected = torch.cat(parts, dim=-1)
        return projected
