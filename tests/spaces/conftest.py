"""The wirings and fusions that every contract test runs over.

Registering a fusion in `FUSIONS` makes it subject to all of them.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, Fusion
from depthweave.spaces.wiring import Site, Wiring, strided_wiring

_WIRINGS = {
    "1x1": strided_wiring(6),
    "2x3": strided_wiring(6, dilation=2, period=3),
    "4x1": strided_wiring(6, dilation=4),
    "period=depth": strided_wiring(6, period=6),
    "irregular": Wiring(6, (Site(1, (0, 1)), Site(2, (0, 2)), Site(4, (1, 3, 4)), Site(5, (0, 2, 5)))),
}


@pytest.fixture(params=list(FUSIONS))
def fusion_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=list(_WIRINGS))
def architecture(fusion_name: str, request: pytest.FixtureRequest) -> Architecture:
    """A small architecture of every fusion and every wiring of 6 blocks."""
    return Architecture(
        fusion=fusion_name,
        wiring=_WIRINGS[request.param],
        width=16,
        heads=2,
        feed_forward=24,
        vocabulary=13,
        context=12,
    )


@pytest.fixture
def fusion(architecture: Architecture) -> Fusion:
    """Only that architecture's fusion, its parameters far from their start."""
    made = FUSIONS[architecture.fusion](architecture.wiring, architecture.width)
    _draw(made, seed=1)
    return made


@pytest.fixture
def model(architecture: Architecture) -> Decoder:
    """A whole model, its fusion's parameters far from their start."""
    made = Decoder(architecture, seed=1)
    _draw(made.fusion, seed=1)
    return made


@pytest.fixture
def states(architecture: Architecture) -> list[Tensor]:
    """States 0 to 6 [B, T, D], independent of each other."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(2, 5, architecture.width, generator=generator) for _ in range(architecture.depth + 1)]


@pytest.fixture
def tokens_BT(architecture: Architecture) -> Tensor:
    """Two sequences of a full context in which every token occurs."""
    shape = (2, architecture.context)
    return (torch.arange(shape[0] * shape[1]) * 5 % architecture.vocabulary).view(shape)


@torch.no_grad()
def _draw(module: nn.Module, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.normal_(std=0.4, generator=generator)
