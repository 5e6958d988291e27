"""No fusion: the plain transformer, whose blocks read the block before them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.fusion import Fusion, Observe, Reader
from depthweave.spaces.wiring import Wiring


class NoFusion(Fusion):
    """Y_i = X_i."""

    paper: ClassVar[str] = ""
    summary: ClassVar[str] = "plain transformer: every block reads the one before it"

    def open(self, *, observe: Observe | None = None) -> Reader:
        return _PlainReader()

    def reset_parameters(self, generator: torch.Generator) -> None:
        pass

    def connection_parameters(self) -> list[nn.Parameter]:
        return []

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        return Wiring(wiring.depth)

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        return 0

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return 0


class _PlainReader:
    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        return state_BTD
