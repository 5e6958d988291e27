"""Manifold-constrained hyper-connections against their paper's equations in plain loops.

Axes: D width, R streams, C numbers that determine a layer's weights.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.spaces.streaming import LayerOutcome, Weights, assert_equals, normed, sigmoid, weighted


def _mhc(weights: Weights, streams: list[Tensor]) -> LayerOutcome:
    """read = sigmoid(l), write = 2 sigmoid(l), carry = Sinkhorn(exp(l)), l = s x W + b, x all streams, normed."""
    count = len(streams)
    x = normed(torch.cat(streams))
    raw = [float((x * row).sum()) for row in weights["dynamic_CX"]]
    scales, bias = weights["scales"].tolist(), weights["static_C"].tolist()

    def part(index: int, start: int, size: int) -> list[float]:
        return [scales[index] * raw[c] + bias[c] for c in range(start, start + size)]

    write = [2 * sigmoid(value) for value in part(0, 0, count)]
    carry = [[float(i == j) for j in range(count)] for i in range(count)]
    if len(bias) == count:
        return streams[0], write, carry
    read = [sigmoid(value) for value in part(1, count, count)]
    if len(bias) > 2 * count:
        logits = part(2, 2 * count, count**2)
        carry = _sinkhorn([logits[i * count : (i + 1) * count] for i in range(count)])
    return weighted(read, streams), write, carry


def _sinkhorn(logits: list[list[float]]) -> list[list[float]]:
    count = len(logits)
    matrix = [[math.exp(value) for value in row] for row in logits]
    for step in range(20 if count > 2 else 500):
        for j in range(count):
            total = sum(row[j] for row in matrix)
            for row in matrix:
                # Before the first division by rows, the smallest entry, as DeepSeek-V4 has it.
                row[j] = row[j] / total + (1e-6 if step == 0 and count > 2 else 0.0)
        matrix = [[value / sum(row) for value in row] for row in matrix]
    return matrix


@pytest.mark.parametrize("name", ["mhc2", "mhc4"])
def test_mhc_equals_its_papers_equations(name: str) -> None:
    assert_equals(_mhc, name)
