"""Depth-weighted average: each site replaces its block's output by a learned weighted sum of earlier states.

Axes: B batch, T tokens, D width, S sources of a site.

Source: Pagliardini, Mohtashami, Fleuret, Jaggi, "DenseFormer: Enhancing Information Flow in Transformers via
Depth Weighted Averaging", arXiv 2402.02622: Y_i = sum over j in S_i of a_ij X_j, one unconstrained scalar a pair,
shared by all tokens and channels, a_ii = 1 and the rest 0 at the start.
Differs: the authors gave the a's weight decay 0.1; here they have none (`connection_parameters`), because decay
pulls the diagonal 1 toward 0. A site that reads only its own block would be a bare scale, and is dropped.
Cost: 2 S D operations a token and site; most time is spent on reading S states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.averaging import FamilyPass, WeightedSum, weighted_sum
from depthweave.spaces.fusions.fusion import Fusion, KeptStates, Observe, Reader
from depthweave.spaces.fusions.panels import families_of
from depthweave.spaces.fusions.site_weights import SiteWeights
from depthweave.spaces.fusions.traced import MIN_CONNECTIONS, TracedPass
from depthweave.spaces.wiring import Wiring


class DepthWeightedAverage(Fusion):
    """Static weights [S] for each site, in one parameter a site (`weights.<block>`)."""

    paper: ClassVar[str] = "DenseFormer, arXiv 2402.02622"
    summary: ClassVar[str] = "learned weighted sum of earlier states, one scalar a pair (DenseFormer)"

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        # Plain parameters, not nn.Linear: a model-wide initialisation of linear layers would erase the identity.
        self.weights = SiteWeights({str(block): nn.Parameter(torch.empty(len(s))) for block, s in wiring})
        self._families = families_of(wiring)
        together = {site for family in self._families for site in family.sites}
        self._alone = Wiring(wiring.depth, tuple(site for site in wiring if site.block not in together))
        _ = self._alone.last_reads

    def open(self, *, observe: Observe | None = None) -> Reader:
        # The compiler does not trace autograd functions. It makes one kernel of each site's plain loop.
        if not torch.compiler.is_compiling():
            return AveragingReader(self, [FamilyPass(family) for family in self._families], self._alone, observe)
        if sum(sum(family.counts) for family in self._families) < MIN_CONNECTIONS:
            return AveragingReader(self, [], self.wiring, observe)
        return AveragingReader(self, [TracedPass(family) for family in self._families], self._alone, observe)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        for weights_S in self.weights.values():
            weights_S.zero_()[-1] = 1.0

    def connection_parameters(self) -> list[nn.Parameter]:
        return list(self.weights.values())

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        return wiring.without_lone_sites()

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        return wiring.num_connections

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return 2 * wiring.num_connections * width


class AveragingReader:
    """One forward pass: families of sites together, the others one by one."""

    def __init__(
        self,
        fusion: DepthWeightedAverage,
        passes: Sequence[FamilyPass | TracedPass],
        alone: Wiring,
        observe: Observe | None,
    ) -> None:
        """`alone`: the sites that are not in a pass."""
        self._weights, self._observe = fusion.weights, observe
        self._passes = {source: item for item in passes for source in item.family.sources}
        self._together = {site for item in passes for site in item.family.sites}
        self._states = KeptStates(alone)
        self._device: torch.device | None = None
        """The device of the first state, where all are summed, also if blocks are on several devices."""

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        if self._device is None:
            self._device = state_BTD.device
        state_BTD = state_BTD.to(self._device)
        family_pass = self._passes.get(block)
        if family_pass is None:
            states = self._states.take(block, state_BTD)
            return self._alone(block, states) if states else state_BTD
        if block not in self._together:
            return family_pass.keep(state_BTD)
        self._show(block)
        given = self._weights(family_pass.panel_sites, self._device) if family_pass.opens_panel else []
        return family_pass.advance(state_BTD, given)

    def _alone(self, block: int, states: list[Tensor]) -> Tensor:
        self._show(block)
        (weights_S,) = self._weights((block,), self._device)
        if torch.compiler.is_compiling():
            return weighted_sum(weights_S, states)
        mixed_BTD: Tensor = WeightedSum.apply(weights_S, *states)
        return mixed_BTD

    def _show(self, block: int) -> None:
        if self._observe is not None:
            self._observe(block, *self._weights((block,), self._device))
