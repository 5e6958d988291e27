"""The head `last`: a linear classifier of the host's last state, as token classifiers of transformers have."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions import Observe
from depthweave.spaces.heads.head import Head, HeadShape


class LastHead(Head):
    """The classifier alone."""

    paper: ClassVar[str] = ""
    summary: ClassVar[str] = "linear classifier of the last state"
    reads_earlier: ClassVar[bool] = False

    def mixed(self, states: list[Tensor], mask_BT: Tensor, observe: Observe | None) -> Tensor:
        return states[-1]

    def reset_mixing(self, generator: torch.Generator) -> None:
        """Has no other weights."""

    def connection_parameters(self) -> list[nn.Parameter]:
        return []

    @classmethod
    def mixing_parameters(cls, shape: HeadShape) -> int:
        return 0

    @classmethod
    def mixing_flops(cls, shape: HeadShape, tokens: int) -> int:
        return 0
