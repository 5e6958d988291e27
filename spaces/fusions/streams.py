"""Several residual streams in place of one: each layer reads a mix of them, and they carry what it adds.

Axes: B batch, T tokens, D width, R streams. The streams are one tensor [..., R, D]: [B, T, R, D] if weights differ by
token, or [R, B T D] if they do not, where a carry is one matrix product. A layer is the attention or the feed-forward
half of a block; layer 2 b - 2 is the attention of block b, layer 2 b - 1 its feed-forward layers.

Streams know no sources: every wiring of a depth gives the same graph, whose sites are after every block and read that
block alone.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.fusion import Carrier, Fusion, Observe
from depthweave.spaces.fusions.state_store import in_float32
from depthweave.spaces.wiring import Wiring, strided_wiring

_NARROW = 128
"""Widest streams of which few mixes are summed stream by stream: on one core two to eight times as fast as products."""


class StreamStep(NamedTuple):
    """What a layer does with the streams, computed before the layer."""

    read_1D: Tensor
    """Its input [..., 1, D]."""
    write_R1: Tensor
    """How much of its output each stream gets, [..., R, 1]."""
    carry_RR: Tensor | None = None
    """How much each stream, a row, keeps of every stream, [..., R, R]; `None` is the identity."""


class StreamsFusion(Fusion):
    """A layer's weights are `layers.<block>_attention` and `layers.<block>_feed_forward`."""

    streams: ClassVar[int]
    by_token: ClassVar[bool] = True
    """Whether weights differ by token."""
    carries_residual: ClassVar[bool] = True

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        numbers = [number for block, _ in wiring for number in (2 * block - 2, 2 * block - 1)]
        last = 2 * wiring.depth - 1
        self.layers = nn.ModuleDict({_key(number): self.make_layer(number, last) for number in numbers})

    @abstractmethod
    def make_layer(self, number: int, last: int) -> StreamLayer:
        """Returns the weights of layer `number`; `last` is the number of the model's last layer."""

    def merge(self, streams_RD: Tensor) -> Tensor:
        """Returns what the final norm reads, [..., 1, D]: the mean of the streams."""
        return mean_of_streams(streams_RD)

    def open(self, *, observe: Observe | None = None) -> Carrier:
        # Streams are no states: there are no connection weights to observe.
        return StreamsReader(self)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        for layer in self.layers.values():
            assert isinstance(layer, StreamLayer)
            layer.reset_parameters(generator)

    def connection_parameters(self) -> list[nn.Parameter]:
        return [item for name, item in self.named_parameters() if name.rpartition(".")[2].startswith("static")]

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        return _lone_sites(wiring.depth)

    @classmethod
    def kept_states(cls, wiring: Wiring) -> int:
        return cls.streams


class StreamLayer(nn.Module):
    """The weights of one layer; a call returns what it does with the streams."""

    @abstractmethod
    def forward(self, streams_RD: Tensor) -> StreamStep:
        """Returns the layer's step, given the streams before it."""

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws the start."""


class StreamsReader:
    """One forward pass; holds the streams and the step of the current layer."""

    def __init__(self, fusion: StreamsFusion) -> None:
        self._layers, self._merge = fusion.layers, fusion.merge
        self._streams, self._by_token, self._depth = fusion.streams, fusion.by_token, fusion.wiring.depth
        self._shape = torch.Size()
        self._streams_RD: Tensor | None = None
        self._step: StreamStep | None = None

    def between(self, block: int, attended_BTD: Tensor) -> Tensor:
        self._write(attended_BTD)
        return self._read(2 * block - 1)

    def advance(self, block: int, state_BTD: Tensor) -> Tensor:
        if block:
            self._write(state_BTD)
        else:
            self._shape = state_BTD.shape
            rows_1D = self._rows(state_BTD)
            self._streams_RD = rows_1D.expand(*rows_1D.shape[:-2], self._streams, -1)
        return self._read(2 * block) if block < self._depth else self._end()

    def _rows(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unsqueeze(-2) if self._by_token else x_BTD.reshape(1, -1)

    def _read(self, number: int) -> Tensor:
        streams_RD = self._streams_RD
        assert streams_RD is not None
        with torch.autocast(streams_RD.device.type, enabled=False):
            self._step = self._layers[_key(number)](streams_RD)
        return self._step.read_1D.view(self._shape)

    def _write(self, added_BTD: Tensor) -> None:
        streams_RD, step = self._streams_RD, self._step
        assert streams_RD is not None
        assert step is not None
        added_1D = self._rows(added_BTD).to(streams_RD)
        with torch.autocast(streams_RD.device.type, enabled=False):
            # The layer's weights may be on another device.
            if step.carry_RR is not None:
                streams_RD = mixed(step.carry_RR.to(streams_RD), streams_RD)
            self._streams_RD = torch.addcmul(streams_RD, step.write_R1.to(streams_RD), added_1D)

    def _end(self) -> Tensor:
        assert self._streams_RD is not None
        with torch.autocast(self._streams_RD.device.type, enabled=False):
            merged_1D = self._merge(self._streams_RD)
        self._streams_RD = self._step = None
        return merged_1D.view(self._shape)


def mixed(weights_MR: Tensor, streams_RD: Tensor) -> Tensor:
    """Returns M mixes of the streams, [..., M, D], without TF32, which would round the streams."""
    if torch.compiler.is_compiling():
        # One kernel, made by the compiler, which rounds nothing either.
        return (weights_MR.unsqueeze(-1) * streams_RD.unsqueeze(-3)).sum(dim=-2)
    is_small = weights_MR.shape[-2] * weights_MR.shape[-1] <= 4 and streams_RD.shape[-1] <= _NARROW
    # The first layer's streams are one row, whose stride no product of matrices takes.
    if is_small or streams_RD.stride(-2) == 0:
        # A product for each token would mostly be the start of the product.
        weights, parts = weights_MR.unsqueeze(-1).unbind(-2), streams_RD.unsqueeze(-3).unbind(-2)
        mixed_MD = weights[0] * parts[0]
        for weight_M1, part_1D in zip(weights[1:], parts[1:], strict=True):
            mixed_MD = torch.addcmul(mixed_MD, part_1D, weight_M1)
        return mixed_MD
    with in_float32(streams_RD.device):
        # With strides that BLAS does not take, torch copies and multiplies the matrices of each token one by one.
        return weights_MR.contiguous() @ streams_RD


def mean_of_streams(streams_RD: Tensor) -> Tensor:
    """Returns the mean of 1, 2, 4, ... streams, [..., 1, D], exact if all are equal."""
    count = streams_RD.shape[-2]
    while streams_RD.shape[-2] > 1:
        # In pairs: three equal addends would be rounded.
        one_RD, other_RD = streams_RD.chunk(2, dim=-2)
        streams_RD = one_RD + other_RD
    return streams_RD / count


def twice_sigmoid(x: Tensor) -> Tensor:
    """Returns 2 sigmoid(x), exactly 1 for 0."""
    return 1 + (x / 2).tanh()


def _key(number: int) -> str:
    return f"{number // 2 + 1}_{'feed_forward' if number % 2 else 'attention'}"


@cache
def _lone_sites(depth: int) -> Wiring:
    """Returns the wiring with a site after every block that reads only its block."""
    return strided_wiring(depth, dilation=depth + 1)
