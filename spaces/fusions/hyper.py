"""Hyper-connections: parallel residual streams with a learned read, carry and write for every layer.

Axes: B batch, T tokens, D width, R streams, C columns of a layer's weights (read, carry to each stream, write).

Source: Zhu, Huang, Huang, Zeng, Mao, Wu, Min, Zhou, "Hyper-Connections", arXiv 2409.19606. Layer k, with output f(u):

    u = A_m' H        H' = A_r' H + B f(u)        H [R, D], all rows the embedding at first; their sum at the end

Static (`hc`): A_m = e_(k mod R), A_r = I, B = 1 at the start, which is the plain transformer. Dynamic (`dhc`): each of
the three plus s tanh(norm(H) W), W = 0 and s = 0.01 at the start, one s for A_m and A_r and one for B.
Differs:
1. The sum at the end is a mean. The final norm makes both the same but for its eps, and so the start is exactly the
   plain transformer.
2. The paper multiplies the start of output matrices by sqrt(R); here they start like the plain transformer's.
3. The norm of the dynamic part divides by the root mean square, without a gain, which W could absorb.
Cost: 2 D (R^2 + 2 R) operations a token and layer, and 2 D R (R + 2) more if dynamic.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.rms import root_mean_square
from depthweave.spaces.fusions.streams import StreamLayer, StreamsFusion, StreamStep, mixed
from depthweave.spaces.wiring import Wiring

_DYNAMIC_SCALE = 0.01
"""Start of s, as in the paper."""


class HyperConnections(StreamsFusion):
    """Static weights [R, R + 2] for each layer."""

    paper: ClassVar[str] = "Hyper-Connections, arXiv 2409.19606"
    summary: ClassVar[str] = "2 residual streams, learned read, carry and write for every layer (hyper-connections)"
    streams: ClassVar[int] = 2
    by_token: ClassVar[bool] = False

    def make_layer(self, number: int, last: int) -> StreamLayer:
        return _StaticLayer(self.streams, number)

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        return 2 * len(wiring.sites) * cls.streams * (cls.streams + 2)

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return 2 * len(wiring.sites) * 2 * width * cls.streams * (cls.streams + 2)


class HyperConnections4(HyperConnections):
    """The same with 4 streams."""

    summary: ClassVar[str] = "4 residual streams, learned read, carry and write for every layer (hyper-connections)"
    streams: ClassVar[int] = 4


class DynamicHyperConnections(HyperConnections):
    """Static weights plus those of each token."""

    summary: ClassVar[str] = "2 residual streams, read, carry and write by token (dynamic hyper-connections)"
    by_token: ClassVar[bool] = True

    def make_layer(self, number: int, last: int) -> StreamLayer:
        return _DynamicLayer(self.streams, number, self.width)

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        dynamic = width * (cls.streams + 2) + 2
        return super().num_parameters(wiring, width) + 2 * len(wiring.sites) * dynamic

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        # The product with W, and s times it plus the static weights.
        dynamic = 2 * cls.streams * (cls.streams + 2) * (width + 1)
        return super().forward_flops(wiring, width) + 2 * len(wiring.sites) * dynamic


class DynamicHyperConnections4(DynamicHyperConnections):
    """The same with 4 streams."""

    summary: ClassVar[str] = "4 residual streams, read, carry and write by token (dynamic hyper-connections)"
    streams: ClassVar[int] = 4


class _StaticLayer(StreamLayer):
    def __init__(self, streams: int, number: int) -> None:
        super().__init__()
        self.read_at = number % streams
        """The stream that the layer reads at the start."""
        self.static_RC = nn.Parameter(torch.empty(streams, streams + 2))

    def reset_parameters(self, generator: torch.Generator) -> None:
        self.static_RC.zero_()
        self.static_RC[:, 1:-1].fill_diagonal_(1.0)
        self.static_RC[self.read_at, 0] = 1.0
        self.static_RC[:, -1] = 1.0

    def forward(self, streams_RD: Tensor) -> StreamStep:
        # A copy: hooks on outputs (torch.utils.module_tracker) fail on a parameter's view made without gradients.
        return _step(self.static_RC.clone(), streams_RD)


class _DynamicLayer(_StaticLayer):
    def __init__(self, streams: int, number: int, width: int) -> None:
        super().__init__(streams, number)
        self.dynamic_DC = nn.Parameter(torch.empty(width, streams + 2))
        self.scales = nn.Parameter(torch.empty(2))

    def reset_parameters(self, generator: torch.Generator) -> None:
        super().reset_parameters(generator)
        nn.init.zeros_(self.dynamic_DC)
        nn.init.constant_(self.scales, _DYNAMIC_SCALE)

    def forward(self, streams_RD: Tensor) -> StreamStep:
        # The product before the norm: no normed streams are kept for the backward pass.
        dynamic_RC = (streams_RD @ self.dynamic_DC.to(streams_RD)) / root_mean_square(streams_RD)
        scales_C = torch.cat([self.scales[:1].expand(dynamic_RC.shape[-1] - 1), self.scales[1:]]).to(dynamic_RC)
        return _step(torch.addcmul(self.static_RC.to(dynamic_RC), dynamic_RC.tanh(), scales_C), streams_RD)


def _step(weights_RC: Tensor, streams_RD: Tensor) -> StreamStep:
    weights_RC = weights_RC.to(streams_RD.dtype)
    read_1R = weights_RC[..., 0].unsqueeze(-2)
    return StreamStep(mixed(read_1R, streams_RD), weights_RC[..., -1:], weights_RC[..., 1:-1].transpose(-1, -2))
