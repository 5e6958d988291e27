"""The head `concat`: adds a low-rank linear map of all sources to the last state.

Axes: B batch, T tokens, D width, S sources, R rank.

Source: the Concat baseline of ElNokrashy, AlKhamissi, Diab, "Depth-Wise Attention (DWAtt)", arXiv 2209.15168:
h = W [z_1; ...; z_S], one linear map from S D to D.
Differs: written as h = z_last + [z_1; ...; z_S] A B with A: S D -> R and B: R -> D, B = 0 at the start. The rank R
meets the budget, and the head starts as the classifier of the last state. The classifier has fewer classes than D, so a
rank of that many classes already reaches every linear function of the sources; a larger one trains better.
The products are summed source by source, so that the concatenation [B, T, S D] is never made.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions import Observe
from depthweave.spaces.fusions.concat import map_gains
from depthweave.spaces.heads.head import Head, HeadShape


class ConcatHead(Head):
    """The two maps, applied as state @ map."""

    paper: ClassVar[str] = "Concat baseline of DWAtt, arXiv 2209.15168"
    summary: ClassVar[str] = "low-rank linear map of the concatenated states, added to the last one"
    sized: ClassVar[bool] = True

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.down_SDR = nn.Parameter(torch.empty(len(shape.sources), shape.width, shape.inner))
        self.up_RD = nn.Parameter(torch.empty(shape.inner, shape.width))

    def mixed(self, states: list[Tensor], mask_BT: Tensor, observe: Observe | None) -> Tensor:
        if observe is not None:
            observe(self.shape.depth, map_gains(self.down_SDR.detach() @ self.up_RD.detach()))
        first, *others = zip(states, self.down_SDR.unbind(), strict=True)
        low_BTR = first[0] @ first[1]
        for state_BTD, down_DR in others:
            low_BTR = low_BTR + state_BTD @ down_DR
        return states[-1] + low_BTR @ self.up_RD

    def reset_mixing(self, generator: torch.Generator) -> None:
        num_sources, width, _ = self.down_SDR.shape
        nn.init.normal_(self.down_SDR, std=(num_sources * width) ** -0.5, generator=generator)
        nn.init.zeros_(self.up_RD)

    def connection_parameters(self) -> list[nn.Parameter]:
        return []

    @classmethod
    def mixing_parameters(cls, shape: HeadShape) -> int:
        return (len(shape.sources) + 1) * shape.width * shape.inner

    @classmethod
    def mixing_flops(cls, shape: HeadShape, tokens: int) -> int:
        return 2 * cls.mixing_parameters(shape)
