"""The head `deeper`: further transformer blocks after the host's last layer, and a linear classifier.

Axes: B batch, T tokens, D width, H heads, K head width.

Source: the deeper baseline of ElNokrashy, AlKhamissi, Diab, "Depth-Wise Attention (DWAtt)", arXiv 2209.15168: as many
further layers of the encoder as the parameters of layer fusion pay for, about a twelfth of the host's. It is what heads
that read earlier states have to beat.

Blocks are of the host's manner. For an encoder they are BERT's (Devlin, Chang, Lee, Toutanova, arXiv 1810.04805):
norms after the residuals, biases, GELU. For a causal host they are those of GPT-2: norms before attention and
feed-forward layers, causal. Their number follows from the budget, and the feed-forward width meets it. They start as
new layers of either do: weights of standard deviation 0.02, biases of zero (docs/log/few_shot.md).
Differs:
1. Keys have no bias. It would add the same number to all scores of a query, which the softmax drops, and so never get
   a gradient.
2. No dropout, as in no other head.
The blocks add no positions: the host's states have them.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.fusions import Observe
from depthweave.spaces.heads.head import Head, HeadShape

_START_SD = 0.02
"""Standard deviation of the weights at the start, as in BERT and GPT-2."""
_USUAL_RATIO = 4
"""Feed-forward width over width of the host's own layers."""


class DeeperHead(Head):
    """The blocks (`blocks`)."""

    paper: ClassVar[str] = "deeper baseline of DWAtt, arXiv 2209.15168"
    summary: ClassVar[str] = "further transformer blocks on the last state"
    starts_as_last: ClassVar[bool] = False
    reads_earlier: ClassVar[bool] = False
    sized: ClassVar[bool] = True

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        if shape.blocks < 1:
            raise ValueError(f"head.blocks is {shape.blocks}: it must be at least 1 for the head {shape.kind!r}")
        self.blocks = nn.ModuleList(
            FurtherBlock(shape.width, shape.heads, shape.inner, pre_norm=shape.causal) for _ in range(shape.blocks)
        )

    def mixed(self, states: list[Tensor], mask_BT: Tensor, observe: Observe | None) -> Tensor:
        (x_BTD,) = states
        mask_B1TT = visible_tokens(mask_BT, causal=self.shape.causal)
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_B1TT)
        return x_BTD

    def reset_mixing(self, generator: torch.Generator) -> None:
        for block in self.blocks:
            assert isinstance(block, FurtherBlock)
            block.reset_parameters(generator)

    def connection_parameters(self) -> list[nn.Parameter]:
        return []

    @classmethod
    def mixing_parameters(cls, shape: HeadShape) -> int:
        return shape.blocks * _block_parameters(shape.width, shape.inner)

    @classmethod
    def mixing_flops(cls, shape: HeadShape, tokens: int) -> int:
        return shape.blocks * (8 * shape.width**2 + 4 * shape.width * shape.inner + 4 * tokens * shape.width)


def fitting_blocks(*, budget: int, width: int) -> int:
    """Returns how many blocks of the usual shape come nearest to so many parameters, at least 1."""
    return max(1, round(budget / _block_parameters(width, _USUAL_RATIO * width)))


def _block_parameters(width: int, feed_forward: int) -> int:
    return 4 * width**2 + 2 * width * feed_forward + feed_forward + 8 * width


def visible_tokens(mask_BT: Tensor, *, causal: bool) -> Tensor:
    """Returns where a token sees another [B, 1, T, T]: real tokens, with `causal` only earlier ones, and itself.

    Padding sees itself too, because a softmax over no token would give it a state that is no number.
    """
    mask_BT = mask_BT.bool()
    tokens = mask_BT.shape[1]
    itself_TT = torch.eye(tokens, dtype=torch.bool, device=mask_BT.device)
    visible_B1TT = mask_BT[:, None, None, :] | itself_TT
    return visible_B1TT & torch.ones_like(itself_TT).tril() if causal else visible_B1TT


class FurtherBlock(nn.Module):
    """One block: attention and feed-forward layers, normed before (`pre_norm`) or after their residual."""

    def __init__(self, width: int, heads: int, feed_forward: int, *, pre_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pre_norm = pre_norm
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.attention_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, feed_forward)
        self.out = nn.Linear(feed_forward, width)
        self.feed_forward_norm = nn.LayerNorm(width)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws the start."""
        for linear in (self.query, self.key, self.value, self.attention_out, self.into, self.out):
            nn.init.normal_(linear.weight, std=_START_SD, generator=generator)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        for norm in (self.attention_norm, self.feed_forward_norm):
            norm.reset_parameters()

    def forward(self, x_BTD: Tensor, mask_B1TT: Tensor) -> Tensor:
        """Returns the state after the block [B, T, D]."""
        if self.pre_norm:
            x_BTD = x_BTD + self._attended(self.attention_norm(x_BTD), mask_B1TT)
            return x_BTD + self._fed_forward(self.feed_forward_norm(x_BTD))
        x_BTD = self.attention_norm(x_BTD + self._attended(x_BTD, mask_B1TT))
        normed_BTD: Tensor = self.feed_forward_norm(x_BTD + self._fed_forward(x_BTD))
        return normed_BTD

    def _attended(self, x_BTD: Tensor, mask_B1TT: Tensor) -> Tensor:
        query, key, value = (
            linear(x_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        mixed_BHTK = F.scaled_dot_product_attention(query, key, value, attn_mask=mask_B1TT)
        out_BTD: Tensor = self.attention_out(mixed_BHTK.transpose(1, 2).flatten(-2))
        return out_BTD

    def _fed_forward(self, x_BTD: Tensor) -> Tensor:
        out_BTD: Tensor = self.out(F.gelu(self.into(x_BTD)))
        return out_BTD
