"""Value residual: the attention of later blocks also reads the values of the first one.

Axes: B batch, T tokens, H heads, K head width, D width, S sources of a site.

Source: Zhou, Wu, Jiang, Lan, "Value Residual Learning For Alleviating Attention Concentration In Transformers"
(ResFormer), arXiv 2410.17897: V'_l = lambda_(l,1) V_1 + lambda_(l,2) V_l, with learned scalars in one variant.
Differs: one scalar a block, V'_l = V_l + lambda_l (V_1 - V_l), which is 0 at the start, so that a fresh model is the
plain transformer; the paper's scalars start at 0.5 each. They have no weight decay.
Sites: the site after block l - 1 mixes the values of block l. Its sources are 0, in whose place the first values are
read, and l - 1. Of a given wiring only the places of the sites count, not what they read; one after the last block is
dropped.
Cost: 2 D operations a token and site, or fewer if heads share values. `kept_states` counts the first values in the
place of state 0.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.fusion import BlockInputs, Fusion, Observe, ValueReader
from depthweave.spaces.fusions.site_weights import SiteWeights
from depthweave.spaces.wiring import Wiring, strided_site


class ValueResidual(Fusion):
    """One scalar a site (`shares.<block>`)."""

    paper: ClassVar[str] = "ResFormer, arXiv 2410.17897"
    summary: ClassVar[str] = "values of the first attention mixed into later ones, one scalar a block (ResFormer)"
    value_source: ClassVar[int] = 1

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        self.shares = SiteWeights({str(block): nn.Parameter(torch.empty(())) for block, _ in wiring})

    def open(self, *, observe: Observe | None = None) -> ValueReader:
        return _ValueResidualReader(self, observe)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        for share in self.shares.values():
            share.zero_()

    def connection_parameters(self) -> list[nn.Parameter]:
        return list(self.shares.values())

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        # The site of `dilation = block` reads the embedding and its own block.
        sites = tuple([strided_site(block, block) for block, _ in wiring if block < wiring.depth])
        return wiring if sites == wiring.sites else Wiring(wiring.depth, sites)

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        return len(wiring.sites)

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return 2 * len(wiring.sites) * width


class _ValueResidualReader:
    def __init__(self, fusion: ValueResidual, observe: Observe | None) -> None:
        self._shares, self._observe = fusion.shares, observe
        self._blocks = [block for block, _ in fusion.wiring]
        self._first_value_BHTK: Tensor | None = None

    def keep_value(self, value_BHTK: Tensor) -> None:
        self._first_value_BHTK = value_BHTK

    def advance(self, block: int, state_BTD: Tensor) -> Tensor | BlockInputs:
        if block not in self._blocks:
            return state_BTD
        first_value_BHTK = self._first_value_BHTK
        assert first_value_BHTK is not None, "the values of block 1 come before its state"
        if block == self._blocks[-1]:
            self._first_value_BHTK = None
        (share,) = self._shares((block,), state_BTD.device)
        if self._observe is not None:
            self._observe(block, torch.stack([share, 1.0 - share]).detach())
        return BlockInputs(state_BTD, state_BTD, state_BTD, state_BTD, first_value_BHTK, share)
