"""The head `dwatt`: DWAtt as in its paper, after the host's last layer, and a linear classifier.

Axes: B batch, T tokens, D width, S sources.

Source: ElNokrashy, AlKhamissi, Diab, "Depth-Wise Attention (DWAtt)", arXiv 2209.15168; the equations are in
`spaces/fusions/dwatt.py`, whose site this is.
Differs: the inner width of the maps, the paper's D / 2, meets the budget. Scores are divided by sqrt(D) unless
`HeadShape.scaled` is `False`, and the site starts as the identity.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions import Observe
from depthweave.spaces.fusions.dwatt import AttentionSite
from depthweave.spaces.heads.head import Head, HeadShape


class DepthAttentionHead(Head):
    """One site (`site`)."""

    paper: ClassVar[str] = "DWAtt, arXiv 2209.15168"
    summary: ClassVar[str] = "attention over depth, token by token, added to the last state (DWAtt)"
    sized: ClassVar[bool] = True

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.site = AttentionSite(len(shape.sources), shape.width, inner=shape.inner, scaled=shape.scaled)

    def mixed(self, states: list[Tensor], mask_BT: Tensor, observe: Observe | None) -> Tensor:
        mixed_BTD: Tensor
        mixed_BTD, weights_BTS = self.site(states)
        if observe is not None:
            observe(self.shape.depth, weights_BTS)
        return mixed_BTD

    def reset_mixing(self, generator: torch.Generator) -> None:
        self.site.reset_parameters(generator)

    def connection_parameters(self) -> list[nn.Parameter]:
        return [self.site.positions_SK]

    @classmethod
    def mixing_parameters(cls, shape: HeadShape) -> int:
        return AttentionSite.num_parameters(len(shape.sources), shape.width, inner=shape.inner)

    @classmethod
    def mixing_flops(cls, shape: HeadShape, tokens: int) -> int:
        return AttentionSite.forward_flops(len(shape.sources), shape.width, inner=shape.inner)
