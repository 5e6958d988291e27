"""The head `dwa`: a depth-weighted average of the states, and a linear classifier.

Source: Pagliardini, Mohtashami, Fleuret, Jaggi, "DenseFormer", arXiv 2402.02622: the fusion `dwa` with one site, after
the host's last layer. Its weights are free, may be negative, and start with 1 for the last state and 0 for the others.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions import Observe
from depthweave.spaces.fusions.dwa import DepthWeightedAverage
from depthweave.spaces.heads.head import Head, HeadShape
from depthweave.spaces.wiring import Site, Wiring


class DepthAverageHead(Head):
    """The fusion `dwa` with one site (`fusion`)."""

    paper: ClassVar[str] = "DenseFormer, arXiv 2402.02622"
    summary: ClassVar[str] = "learned weighted sum of the states, one scalar a state (DenseFormer)"

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.fusion = DepthWeightedAverage(_one_site(shape), shape.width)

    def mixed(self, states: list[Tensor], mask_BT: Tensor, observe: Observe | None) -> Tensor:
        reader = self.fusion.open(observe=observe)
        mixed_BTD = states[-1]
        # No site reads the states between.
        for source, state_BTD in zip(self.shape.sources, states, strict=True):
            found = reader.advance(source, state_BTD)
            assert isinstance(found, Tensor), "the site gives one tensor"
            mixed_BTD = found
        return mixed_BTD

    def reset_mixing(self, generator: torch.Generator) -> None:
        self.fusion.reset_parameters(generator)

    def connection_parameters(self) -> list[nn.Parameter]:
        return self.fusion.connection_parameters()

    @classmethod
    def mixing_parameters(cls, shape: HeadShape) -> int:
        return DepthWeightedAverage.num_parameters(_one_site(shape), shape.width)

    @classmethod
    def mixing_flops(cls, shape: HeadShape, tokens: int) -> int:
        return DepthWeightedAverage.forward_flops(_one_site(shape), shape.width)


def _one_site(shape: HeadShape) -> Wiring:
    return Wiring(shape.depth, (Site(shape.depth, shape.sources),))
