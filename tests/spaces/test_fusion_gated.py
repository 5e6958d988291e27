"""Gated residual against its paper's equations in plain loops.

Axes: D width, R streams, C numbers that determine a layer's weights.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.spaces.streaming import LayerOutcome, Weights, assert_equals, normed, sigmoid


def _gated(weights: Weights, streams: list[Tensor]) -> LayerOutcome:
    """u = mean_i sigmoid(W_up silu(W_down R / n) + b)_i R_i, write = 2 sigmoid(W_inj R / n), R normed."""
    count, width = len(streams), len(streams[0])
    inputs = [normed(stream) for stream in streams]
    x = torch.cat(inputs)
    hidden = [float((row * x).sum()) / count for row in weights["down_KX"]]
    hidden_K = torch.tensor([value * sigmoid(value) for value in hidden], dtype=x.dtype)
    read_D = torch.zeros_like(streams[0])
    for i, stream in enumerate(inputs):
        for d in range(width):
            gate = float((weights["up_XK"][i * width + d] * hidden_K).sum()) + float(weights["static_R"][i])
            read_D[d] += sigmoid(gate) * stream[d] / count
    write = [2 * sigmoid(float((row * x).sum()) / count) for row in weights.get("inject_RX", [])]
    return read_D, write, [[float(i == j) for j in range(count)] for i in range(count)]


@pytest.mark.parametrize("name", ["gated2", "gated4"])
def test_gated_equals_its_papers_equations(name: str) -> None:
    assert_equals(_gated, name)
