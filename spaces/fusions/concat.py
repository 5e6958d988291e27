"""Concat: each site adds a learned linear map of its concatenated sources to its block's output.

Axes: B batch, T tokens, D width, S sources of a site.

Source: the Concat baseline of ElNokrashy, AlKhamissi, Diab, "Depth-Wise Attention (DWAtt)", arXiv 2209.15168:
h = W [z_1; ...; z_S], one linear map from S D to D.
Differs: written as h = z_own + W' [z_1; ...; z_S] with W' = 0 at the start. The functions are the same, it starts as
the identity, and weight decay pulls it toward the identity instead of toward nothing.
Cost: S D^2 parameters and 2 S D^2 operations a token and site. The product is summed source by source, so that the
concatenation [B, T, S D] is never made.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.fusion import Fusion, KeptStates, Observe, Reader
from depthweave.spaces.fusions.site_weights import CalledParameters
from depthweave.spaces.wiring import Wiring


class Concat(Fusion):
    """Maps [S, D, D] for each site (`maps.<block>`), applied as state @ map."""

    paper: ClassVar[str] = "Concat baseline of DWAtt, arXiv 2209.15168"
    summary: ClassVar[str] = "learned linear map of the concatenated earlier states"

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        self.maps = SiteMaps({str(block): nn.Parameter(torch.empty(len(s), width, width)) for block, s in wiring})

    def open(self, *, observe: Observe | None = None) -> Reader:
        return _LinearReader(self, KeptStates(self.wiring), observe)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        for maps_SDD in self.maps.values():
            maps_SDD.zero_()

    def connection_parameters(self) -> list[nn.Parameter]:
        return []

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        return wiring.num_connections * width**2

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return 2 * wiring.num_connections * width**2


class SiteMaps(CalledParameters):
    """The maps of all sites, by the number of their block; a call computes one site."""

    def forward(self, block: int, states: list[Tensor], observe: Observe | None) -> Tensor:
        """Returns the block's own state, the last one, plus every state's map."""
        maps_SDD = self[str(block)]
        if observe is not None:
            observe(block, map_gains(maps_SDD))
        mixed_BTD = states[-1]
        for state, map_DD in zip(states, maps_SDD.unbind(), strict=True):
            mixed_BTD = mixed_BTD + state @ map_DD
        return mixed_BTD


class _LinearReader:
    def __init__(self, fusion: Concat, states: KeptStates, observe: Observe | None) -> None:
        self._fusion, self._states, self._observe = fusion, states, observe

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        states = self._states.take(block, state_BTD)
        if not states:
            return state_BTD
        mixed_BTD: Tensor = self._fusion.maps(block, states, self._observe)
        return mixed_BTD


def map_gains(maps_SDD: Tensor) -> Tensor:
    """Returns the root-mean-square gain [S] of each source's map with the block's own identity: 1 is an identity."""
    own_SDD = maps_SDD.detach().clone()
    own_SDD[-1].diagonal().add_(1.0)
    return own_SDD.square().sum(dim=(1, 2)).div(own_SDD.shape[-1]).sqrt()
