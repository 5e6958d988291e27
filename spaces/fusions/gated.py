"""Gated residual: every layer reads its streams through a gate a channel, and writes with a gate a stream.

Axes: B batch, T tokens, D width, R streams, X = R D channels of all streams, K rank of the gates.

Source: the gated residual of the Qwen3.8-Next report, arXiv 2608.30320, as in `Qwen4ExpTextGatedResidual` of
transformers. A layer f with the input u reads and writes the streams H_i, i = 1 ... R. N is H with every stream divided
by its root mean square:

    u = mean_i sigmoid(W_up silu(W_down N / R))_i N_i        H_i += 2 sigmoid(W_inj N / R)_i f(u)        K = D / 8

The model's output is one more read.

Differs:
1. There it replaces pre-norm. Here the block's norm stays, norms the mix and has the only gain.
2. Equal streams that start with equal gates hardly ever separate. So each read has a bias for each stream, at the start
   +`START_BIAS` for stream k mod R of layer k and -`START_BIAS` for the others, and W_inj starts at random, as there:
   what it gives the sigmoid has the standard deviation `START_SPREAD`. W_up starts at zero.
So a fresh model is not the plain transformer: its streams get different shares of what each layer adds.
Cost: 2 R D (2 K + R + 2) operations a token and layer; D^2 R / 4 + D R^2 parameters a layer.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depthweave.spaces.fusions.rms import root_mean_square
from depthweave.spaces.fusions.streams import StreamLayer, StreamsFusion, StreamStep, twice_sigmoid
from depthweave.spaces.wiring import Wiring

START_BIAS = 2.0
START_SPREAD = 0.5
"""Of the writes' gates before the sigmoid; that of the released model's initialisation is about the same."""


class GatedResidual(StreamsFusion):
    """One `_GatedLayer` a layer, and one for the output (`output`)."""

    paper: ClassVar[str] = "gated residual of Qwen3.8-Next, arXiv 2608.30320"
    summary: ClassVar[str] = "2 residual streams, read and written through gates by token (gated residual)"
    streams: ClassVar[int] = 2
    starts_as_identity: ClassVar[bool] = False

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        self.output = self.make_layer(2 * wiring.depth, 2 * wiring.depth - 1)

    def make_layer(self, number: int, last: int) -> StreamLayer:
        return _GatedLayer(self.streams, number, self.width, writes=number <= last)

    def merge(self, streams_RD: Tensor) -> Tensor:
        step: StreamStep = self.output(streams_RD)
        return step.read_1D

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        super().reset_parameters(generator)
        assert isinstance(self.output, StreamLayer)
        self.output.reset_parameters(generator)

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        writes = 2 * len(wiring.sites)
        read = 2 * cls.streams * width * _rank(width) + cls.streams
        return (writes + 1) * read + writes * cls.streams**2 * width

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        writes = 2 * len(wiring.sites)
        # The two products of a gate and its use; the product of a write's gate and its use.
        read = 2 * cls.streams * width * (2 * _rank(width) + 1)
        return (writes + 1) * read + writes * 2 * cls.streams * width * (cls.streams + 1)


class GatedResidual4(GatedResidual):
    """The same with 4 streams."""

    summary: ClassVar[str] = "4 residual streams, read and written through gates by token (gated residual)"
    streams: ClassVar[int] = 4


def _rank(width: int) -> int:
    """Returns the rank K of a read's gates: an eighth of the width, as in the paper's model."""
    return math.ceil(width / 8)


class _GatedLayer(StreamLayer):
    def __init__(self, streams: int, number: int, width: int, *, writes: bool) -> None:
        super().__init__()
        self.read_at = number % streams
        self.static_R = nn.Parameter(torch.empty(streams))
        self.down_KX = nn.Parameter(torch.empty(_rank(width), streams * width))
        self.up_XK = nn.Parameter(torch.empty(streams * width, _rank(width)))
        self.inject_RX = nn.Parameter(torch.empty(streams, streams * width)) if writes else None

    def reset_parameters(self, generator: torch.Generator) -> None:
        self.static_R.fill_(-START_BIAS)[self.read_at] = START_BIAS
        nn.init.normal_(self.down_KX, std=self.down_KX.shape[1] ** -0.5, generator=generator)
        nn.init.zeros_(self.up_XK)
        if self.inject_RX is not None:
            streams, channels = self.inject_RX.shape
            nn.init.normal_(self.inject_RX, std=START_SPREAD * streams * channels**-0.5, generator=generator)

    def forward(self, streams_RD: Tensor) -> StreamStep:
        count = streams_RD.shape[-2]
        normed_RD = (streams_RD / root_mean_square(streams_RD)).to(streams_RD.dtype)
        flat_X = normed_RD.flatten(-2)
        hidden_K = F.silu(F.linear(flat_X, self.down_KX.to(flat_X)) / count)
        logits_RD = F.linear(hidden_K, self.up_XK.to(flat_X)).unflatten(-1, normed_RD.shape[-2:])
        gates_RD = (logits_RD + self.static_R.to(flat_X).unsqueeze(-1)).sigmoid()
        read_1D = (gates_RD * normed_RD).mean(dim=-2, keepdim=True)
        if self.inject_RX is None:
            return StreamStep(read_1D, torch.ones_like(gates_RD[..., :1]))
        write_R = twice_sigmoid(F.linear(flat_X, self.inject_RX.to(flat_X)) / count)
        return StreamStep(read_1D, write_R.unsqueeze(-1))
