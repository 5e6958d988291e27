"""Fusions with residual streams, held against a layer written in plain loops over single tokens.

Axes: B batch, T tokens, D width, R streams, C numbers that determine a layer's weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.fusions.streams import StreamsFusion
from depthweave.spaces.wiring import Wiring
from tests.spaces.driving import drive

Weights = dict[str, Tensor]
LayerOutcome = tuple[Tensor, list[float], list[list[float]]]
"""A layer's input [D], its writes, and what stream i keeps of stream j."""
Layer = Callable[[Weights, list[Tensor]], LayerOutcome]
"""From a layer's weights and the streams [D]."""


def made_streams(name: str, *, depth: int = 3, width: int = 8, std: float = 0.4) -> StreamsFusion:
    """Returns the fusion in float64, with random weights."""
    made = FUSIONS[name]
    fusion = made(made.canonical_wiring(Wiring(depth)), width).double()
    generator = torch.Generator().manual_seed(depth)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(std=std, generator=generator)
    assert isinstance(fusion, StreamsFusion)
    return fusion


@torch.no_grad()
def assert_equals(layer: Layer, name: str) -> None:
    """Holds all inputs that a pass gives against the layer."""
    fusion = made_streams(name)
    depth, weights = fusion.wiring.depth, dict(fusion.state_dict())
    states = [
        torch.randn(2, 5, fusion.width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for seed in range(depth + 1)
    ]
    found = drive(fusion, states)
    for at in ((0, 0), (1, 4)):
        # What the attention adds is each state reversed (`drive`).
        added = [part for state in states[1:] for part in (state[at].flip(-1), state[at])]
        streams = [states[0][at]] * fusion.streams
        expected = []
        for number, output_D in enumerate(added):
            prefix = f"layers.{number // 2 + 1}_{'feed_forward' if number % 2 else 'attention'}."
            own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
            read_D, write, carry = layer(own, streams)
            streams = [weighted(row, streams) + write[i] * output_D for i, row in enumerate(carry)]
            expected.append(read_D)
        own = {key.removeprefix("output."): value for key, value in weights.items() if key.startswith("output.")}
        expected.append(layer(own, streams)[0] if own else sum(streams[1:], streams[0]) / len(streams))
        for mine_BTD, wanted_D in zip(found, expected, strict=True):
            torch.testing.assert_close(mine_BTD[at], wanted_D, rtol=1e-12, atol=1e-12)


def sigmoid(x: float) -> float:
    """Returns 1 / (1 + exp(-x))."""
    return 1 / (1 + math.exp(-x))


def normed(x: Tensor) -> Tensor:
    """Returns the vector divided by its root mean square."""
    return x / math.sqrt(float((x**2).sum()) / len(x) + 1e-6)


def weighted(weights: list[float], streams: list[Tensor]) -> Tensor:
    """Returns the weighted sum of the streams."""
    total = torch.zeros_like(streams[0])
    for weight, stream in zip(weights, streams, strict=True):
        total += weight * stream
    return total
