"""Hyper-connections against their paper's equations in plain loops.

Axes: D width, R streams, C numbers that determine a layer's weights.
"""

from __future__ import annotations

import math

import pytest
from torch import Tensor

from tests.spaces.streaming import LayerOutcome, Weights, assert_equals, normed, weighted


def _hyper(weights: Weights, streams: list[Tensor]) -> LayerOutcome:
    """u = A_m' H, H' = A_r' H + B f(u); dynamic: each plus s tanh(norm(H) W)."""
    count = len(streams)
    table = weights["static_RC"].clone()
    if "dynamic_DC" in weights:
        for i, stream in enumerate(streams):
            for c in range(count + 2):
                scale = float(weights["scales"][1 if c == count + 1 else 0])
                table[i, c] += scale * math.tanh(float((normed(stream) * weights["dynamic_DC"][:, c]).sum()))
    rows = table.tolist()
    carry = [[rows[j][1 + i] for j in range(count)] for i in range(count)]
    return weighted([row[0] for row in rows], streams), [row[-1] for row in rows], carry


@pytest.mark.parametrize("name", ["hc2", "hc4", "dhc2", "dhc4"])
def test_hyper_equals_its_papers_equations(name: str) -> None:
    assert_equals(_hyper, name)
