"""The head `mix`: ELMo's scalar mix of the states, and a linear classifier.

Axes: B batch, T tokens, D width, S sources.

Source: Peters, Neumann, Iyyer, Gardner, Clark, Lee, Zettlemoyer, "Deep contextualized word representations",
arXiv 1802.05365: gamma sum over j of s_j h_j, s the softmax of one scalar a state, gamma one scalar for all. The
scalars start at 0 and gamma at 1, as in the authors' AllenNLP: the mix starts as the mean of the states and not as the
last one.

The paper normalises each state before it is weighed "in some cases", because states have different distributions. The
states of an encoder end with a layer norm of their own, so they are weighed as they are. Those of a causal host grow
with the depth, except for the normed last one, so each is normalised first.
Differs: the norm is that of one token. AllenNLP's has one mean and one variance for the whole batch, so that the other
sentences of a batch would change a token's logits.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.fusions import Observe
from depthweave.spaces.fusions.averaging import weighted_sum
from depthweave.spaces.heads.head import Head, HeadShape


class MixHead(Head):
    """One scalar a source, and gamma."""

    paper: ClassVar[str] = "ELMo, arXiv 1802.05365"
    summary: ClassVar[str] = "softmax-weighted mean of the states, one scalar a state (ELMo's scalar mix)"
    starts_as_last: ClassVar[bool] = False

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.scalars_S = nn.Parameter(torch.empty(len(shape.sources)))
        self.gamma = nn.Parameter(torch.empty(1))

    def mixed(self, states: list[Tensor], mask_BT: Tensor, observe: Observe | None) -> Tensor:
        weights_S = self.scalars_S.softmax(dim=0)
        if observe is not None:
            observe(self.shape.depth, weights_S)
        if self.shape.causal:
            states = [F.layer_norm(state_BTD, state_BTD.shape[-1:]) for state_BTD in states]
        return weighted_sum(self.gamma * weights_S, states)

    def reset_mixing(self, generator: torch.Generator) -> None:
        nn.init.zeros_(self.scalars_S)
        nn.init.ones_(self.gamma)

    def connection_parameters(self) -> list[nn.Parameter]:
        return [self.scalars_S]

    @classmethod
    def mixing_parameters(cls, shape: HeadShape) -> int:
        return len(shape.sources) + 1

    @classmethod
    def mixing_flops(cls, shape: HeadShape, tokens: int) -> int:
        return 2 * len(shape.sources) * shape.width
