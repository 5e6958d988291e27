"""Manifold-constrained hyper-connections: streams that every layer mixes by a doubly stochastic matrix.

Axes: B batch, T tokens, D width, R streams, C numbers that determine a layer's weights.

Source: Xie, Wei, Cao, ..., Liang, "mHC: Manifold-Constrained Hyper-Connections", arXiv 2512.24880. With x the streams
H [R, D] as one vector, divided by its root mean square, and l = s x W + b, each with a scale s, W and b of its own:

    read = sigmoid(l)        write = 2 sigmoid(l)        carry = Sinkhorn(exp(l))        s = 0.01 at the start
    H' = carry H + write f(read H)

Sinkhorn divides columns, then rows, by their sums, in turn, `ITERATIONS` times.

Differs:
1. The paper does not say how b starts. Equal streams with equal weights would never separate. So b gives stream k mod R
   a share of `START_SHARE` in layer k's read, whose sum is 1, and each stream that share of itself in the carry. The
   write is 1. A fresh model is the plain transformer up to rounding.
2. W starts at 0, but at random for the carry, whose gradient is zero as long as the streams are equal.
3. What can change nothing is left out: the first layer's read and carry (its streams are equal) and the last layer's
   carry (the mean of the streams at the end is that before it).
4. The carry of 2 streams is the limit of Sinkhorn's iterations, which has a closed form.
Cost: 2 D R (R^2 + 2 R) operations a token and layer for the weights, 2 D (R^2 + 2 R) for their use.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from depthweave.spaces.fusions.rms import root_mean_square
from depthweave.spaces.fusions.streams import (
    StreamLayer,
    StreamsFusion,
    StreamStep,
    mixed,
    twice_sigmoid,
)
from depthweave.spaces.wiring import Wiring

ITERATIONS = 20
"""As in the paper. Fewer do not suffice: with four streams that keep 0.97 of themselves, and logits that vary by 1, the
columns' sums are 0.5 % off after 20 and 1.2 % after 10. The rows' sums are exact."""
START_SHARE = 0.97
"""Share of a layer's own stream in its read, and of each stream in its carry, at the start."""
_START_SCALE = 0.01
_FLOOR = 1e-6
"""Smallest entry before the iterations, so that no sum is zero; DeepSeek-V4 adds the same."""


class ManifoldHyperConnections(StreamsFusion):
    """One `_ManifoldLayer` a layer."""

    paper: ClassVar[str] = "mHC, arXiv 2512.24880"
    summary: ClassVar[str] = "2 residual streams, mixed by doubly stochastic matrices by token (mHC)"
    streams: ClassVar[int] = 2
    starts_as_identity: ClassVar[bool] = False

    def make_layer(self, number: int, last: int) -> StreamLayer:
        return _ManifoldLayer(self.streams, number, self.width, reads=number > 0, carries=0 < number < last)

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        layers, numbers = _counts(wiring, cls.streams)
        # A row of W and a bias for each number; a scale for each read, write and carry.
        return numbers * (cls.streams * width + 1) + sum(layers)

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        _, numbers = _counts(wiring, cls.streams)
        # The product with W, scale and bias, and the use of each number.
        return 2 * numbers * (cls.streams * width + 1) + 2 * numbers * width


class ManifoldHyperConnections4(ManifoldHyperConnections):
    """The same with 4 streams."""

    summary: ClassVar[str] = "4 residual streams, mixed by doubly stochastic matrices by token (mHC)"
    streams: ClassVar[int] = 4


def _counts(wiring: Wiring, streams: int) -> tuple[tuple[int, int, int], int]:
    """Returns how many layers write, read and carry, and how many numbers determine their weights."""
    layers = 2 * len(wiring.sites)
    counts = layers, max(0, layers - 1), max(0, layers - 2)
    return counts, streams * (counts[0] + counts[1] + streams * counts[2])


class _ManifoldLayer(StreamLayer):
    def __init__(self, streams: int, number: int, width: int, *, reads: bool, carries: bool) -> None:
        super().__init__()
        self.read_at = number % streams
        self.streams = streams
        self.sizes = [streams, streams * reads, streams**2 * carries]
        """Numbers of the write, the read and the carry."""
        self.static_C = nn.Parameter(torch.empty(sum(self.sizes)))
        self.dynamic_CX = nn.Parameter(torch.empty(sum(self.sizes), streams * width))
        self.scales = nn.Parameter(torch.empty(1 + reads + carries))

    def reset_parameters(self, generator: torch.Generator) -> None:
        nn.init.zeros_(self.dynamic_CX)
        nn.init.zeros_(self.static_C)
        nn.init.constant_(self.scales, _START_SCALE)
        _, read_R, carry_RR = self.static_C.split(self.sizes)
        other = (1 - START_SHARE) / (self.streams - 1)
        if len(read_R):
            read_R.fill_(_logit(other))[self.read_at] = _logit(START_SHARE)
        if len(carry_RR):
            carry_RR.view(self.streams, -1).fill_diagonal_(math.log(START_SHARE / other))
            own_CX = self.dynamic_CX[-len(carry_RR) :]
            nn.init.normal_(own_CX, std=own_CX.shape[1] ** -0.5, generator=generator)

    def forward(self, streams_RD: Tensor) -> StreamStep:
        flat_X = streams_RD.flatten(-2)
        # The product before the norm: no normed streams are kept for the backward pass.
        raw_C = (flat_X @ self.dynamic_CX.to(flat_X).t()) / root_mean_square(flat_X)
        each = [size for size in self.sizes if size]
        scales_C = torch.cat([scale.expand(size) for scale, size in zip(self.scales.split(1), each, strict=True)])
        raw_C = torch.addcmul(self.static_C.to(raw_C), raw_C, scales_C.to(raw_C))
        write_R, read_R, carry_C = raw_C.split(self.sizes, dim=-1)
        write_R1 = twice_sigmoid(write_R).unsqueeze(-1).to(streams_RD.dtype)
        if not self.sizes[1]:
            return StreamStep(streams_RD[..., :1, :], write_R1)
        read_1D = mixed(read_R.sigmoid().unsqueeze(-2).to(streams_RD.dtype), streams_RD)
        if not self.sizes[2]:
            return StreamStep(read_1D, write_R1)
        carry_RR = doubly_stochastic(carry_C.unflatten(-1, (self.streams, self.streams)))
        return StreamStep(read_1D, write_R1, carry_RR.to(streams_RD.dtype))


def doubly_stochastic(logits_RR: Tensor) -> Tensor:
    """Returns matrices [..., R, R] whose rows sum to 1, and whose columns do nearly."""
    if logits_RR.shape[-1] == 2:
        first, right, left, second = logits_RR.flatten(-2).unbind(-1)
        kept = ((first + second - (right + left)) / 2).sigmoid()
        return torch.stack([kept, 1 - kept, 1 - kept, kept], dim=-1).view(logits_RR.shape)
    # Rows and columns come first, so that sums over them are sums of long vectors.
    first_RR = logits_RR.movedim((-2, -1), (0, 1)).contiguous()
    found_RR: Tensor = _iterated(first_RR) if torch.compiler.is_compiling() else _Sinkhorn.apply(first_RR)
    return found_RR.movedim((0, 1), (-2, -1))


class _Sinkhorn(torch.autograd.Function):
    """The iterations, repeated in the backward pass: nothing of them is kept."""

    @staticmethod
    def forward(ctx: Any, logits_RR: Tensor) -> Tensor:
        ctx.save_for_backward(logits_RR)
        return _iterated(logits_RR)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_RR: Tensor) -> Tensor:
        (logits_RR,) = ctx.saved_tensors
        with torch.enable_grad():
            logits_RR = logits_RR.detach().requires_grad_()
            found_RR = _iterated(logits_RR)
        by_logits_RR: Tensor = torch.autograd.grad(found_RR, logits_RR, gradient_RR)[0]
        return by_logits_RR


def _iterated(logits_RR: Tensor) -> Tensor:
    """Returns the result for logits [R, R, ...]."""
    # The first division by the columns' sums is a softmax, which cannot overflow.
    weights_RR = torch.softmax(logits_RR, dim=0) + _FLOOR
    for _ in range(ITERATIONS - 1):
        weights_RR = weights_RR / weights_RR.sum(dim=1, keepdim=True)
        weights_RR = weights_RR / weights_RR.sum(dim=0, keepdim=True)
    return weights_RR / weights_RR.sum(dim=1, keepdim=True)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
