"""Depth-weighted average: each site replaces its block's output by a learned weighted sum of earlier states.

Axes: B batch, T tokens, D width, S sources of a site.

Source: Pagliardini, Mohtashami, Fleuret, Jaggi, "DenseFormer: Enhancing Information Flow in Transformers via
Depth Weighted Averaging", arXiv 2402.02622: Y_i = sum over j in S_i of a_ij X_j, one unconstrained scalar a pair,
shared by all tokens and channels, a_ii = 1 and the rest 0 at the start.
Differs: the authors gave the a's weight decay 0.1; here they have none (`connection_parameters`), because decay
pulls the diagonal 1 toward 0. A site that reads only its own block would be a bare scale, and is dropped.
Cost: 2 S D operations a token and site; the time goes into reading S states.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.fusion import Fusion, KeptStates, Observe, Reader
from depthweave.spaces.wiring import Wiring


class DepthWeightedAverage(Fusion):
    """Static weights [S] for each site, in one parameter a site (`weights.<block>`)."""

    paper: ClassVar[str] = "DenseFormer, arXiv 2402.02622"
    summary: ClassVar[str] = "learned weighted sum of earlier states, one scalar a pair (DenseFormer)"

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        # Plain parameters, not nn.Linear: a model-wide initialisation of linear layers would erase the identity.
        self.weights = nn.ParameterDict({str(block): nn.Parameter(torch.empty(len(s))) for block, s in wiring})

    def open(self, embedding_BTD: Tensor, *, observe: Observe | None = None) -> Reader:
        return _AveragingReader(self, KeptStates(self.wiring, embedding_BTD), observe)

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


class _AveragingReader:
    def __init__(self, fusion: DepthWeightedAverage, states: KeptStates, observe: Observe | None) -> None:
        self._fusion, self._states, self._observe = fusion, states, observe

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        states = self._states.take(block, state_BTD)
        if not states:
            return state_BTD
        weights_S = self._fusion.weights[str(block)]
        if self._observe is not None:
            self._observe(block, weights_S)
        # unbind: one backward node for all scalars of the site, where indexing would make one a source.
        weights = weights_S.to(state_BTD.dtype).unbind()
        mixed_BTD: Tensor = states[0] * weights[0]
        for state, weight in zip(states[1:], weights[1:], strict=True):
            mixed_BTD = torch.addcmul(mixed_BTD, state, weight)
        return mixed_BTD
