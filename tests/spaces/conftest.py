"""The wirings and fusions that every contract test runs over.

Registering a fusion in `FUSIONS` makes it subject to all of them.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, Fusion
from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from tests.fusion_names import FIRST_OF_FILES, LAST_OF_FILES, others_are

_WIRINGS = {
    "1x1": strided_wiring(6),
    "2x3": strided_wiring(6, dilation=2, period=3),
    "4x1": strided_wiring(6, dilation=4),
    "period=depth": strided_wiring(6, period=6),
    "irregular": Wiring(6, (Site(1, (0, 1)), Site(2, (0, 2)), Site(4, (1, 3, 4)), Site(5, (0, 2, 5)))),
}


_WIRINGS_OF_VARIANTS = 2
"""Fusions of one file share their code; those after the first run over so many wirings."""


def _architectures() -> dict[str, Architecture]:
    """Returns the distinct small architectures of every fusion, by `fusion wiring`."""
    found: dict[str, Architecture] = {}
    files: set[str] = set()
    for fusion, made in FUSIONS.items():
        own: dict[str, Architecture] = {}
        for name, wiring in _WIRINGS.items():
            sizes = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}
            architecture = Architecture(fusion=fusion, wiring=wiring, **sizes)
            if architecture.fusion == fusion and architecture not in own.values():
                own[f"{fusion} {name}"] = architecture
        most = _WIRINGS_OF_VARIANTS if made.__module__ in files else len(own)
        found |= dict(list(own.items())[:most])
        files.add(made.__module__)
    return found


_ARCHITECTURES = _architectures()


def _parameters() -> list[Any]:
    fast = {*FIRST_OF_FILES, *LAST_OF_FILES}
    names = [name for name, it in _ARCHITECTURES.items() if it.fusion in fast]
    return others_are(pytest.mark.slow, fast=names, names=_ARCHITECTURES)


@pytest.fixture(params=_parameters())
def architecture(request: pytest.FixtureRequest) -> Architecture:
    """A small architecture of every fusion, over wirings of 6 blocks."""
    return _ARCHITECTURES[request.param]


@pytest.fixture
def fusion_name(architecture: Architecture) -> str:
    return architecture.fusion


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
    # Weights that every layer multiplies the streams with would, as far as that, amplify rounding twentyfold.
    _draw(made.fusion, seed=1, from_start=made.fusion.carries_residual)
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
def _draw(module: nn.Module, *, seed: int, from_start: bool = False) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        drawn = torch.empty_like(parameter).normal_(std=0.4, generator=generator)
        parameter.copy_(parameter + drawn / 2 if from_start else drawn)
