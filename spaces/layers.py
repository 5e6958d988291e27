"""The layers in which styles of blocks differ: norms and feed-forward layers.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.block_style import BlockStyle

_NORM_EPS = 1e-5


def make_norm(width: int, style: BlockStyle) -> nn.Module:
    """Returns the norm of that style, with a gain only."""
    return nn.LayerNorm(width, bias=False) if style.kind == "gpt" else RMSNorm(width, eps=_NORM_EPS)


def make_feed_forward(width: int, feed_forward: int, style: BlockStyle) -> nn.Module:
    """Returns the feed-forward layers of that style."""
    return FeedForward(width, feed_forward) if style.kind == "gpt" else SwiGLU(width, feed_forward)


class RMSNorm(nn.RMSNorm):
    """Divides by the root mean square, in no less than float32 or the gain's precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normed [..., D] in the precision of `x`."""
        # Autocast gives queries in bfloat16; the gain stays in float32.
        return super().forward(x.to(torch.promote_types(x.dtype, self.weight.dtype))).to(x.dtype)


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


class SwiGLU(nn.Module):
    """Two linear layers into hidden units, one of which gates the other, and one out of them.

    Gate and input are two matrices, so that the first rows of both are those of a narrower layer of the same seed.
    """

    def __init__(self, width: int, feed_forward: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, feed_forward, bias=False)
        self.into = nn.Linear(width, feed_forward, bias=False)
        self.out = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns the increment [B, T, D]."""
        out_BTD: Tensor = self.out(F.silu(self.gate(x_BTD)) * self.into(x_BTD))
        return out_BTD
