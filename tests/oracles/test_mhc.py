"""Manifold-constrained hyper-connections against `DeepseekV4HyperConnection` of transformers.

Axes: B batch, T tokens, D width, R streams.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from depthweave.spaces.fusions.streams import StreamLayer
from tests.spaces.streaming import made_streams

pytestmark = pytest.mark.slow

_WIDTH = 24


# The carry of two streams is the limit of the iterations.
@pytest.mark.parametrize(("name", "iterations"), [("mhc2", 500), ("mhc4", 20)])
def test_layer_and_its_gradients_equal_those_of_deepseek_v4(name: str, iterations: int) -> None:
    official = pytest.importorskip("transformers.models.deepseek_v4.modeling_deepseek_v4")
    fusion = made_streams(name, depth=3, width=_WIDTH).float()
    count = fusion.streams
    layer = fusion.layers["2_attention"]
    assert isinstance(layer, StreamLayer)
    config = SimpleNamespace(
        hc_mult=count, hc_sinkhorn_iters=iterations, hc_eps=1e-6, rms_norm_eps=1e-6, hidden_size=_WIDTH
    )
    made = official.DeepseekV4HyperConnection(config)
    ours = dict(layer.named_parameters())
    # There: read, write, carry, and the carry from row to column.
    carry = [2 * count + to * count + at for at in range(count) for to in range(count)]
    order = torch.tensor([*range(count, 2 * count), *range(count), *carry])
    with torch.no_grad():
        made.fn.copy_(ours["dynamic_CX"][order])
        made.base.copy_(ours["static_C"][order])
        made.scale.copy_(ours["scales"][[1, 0, 2]])

    generator = torch.Generator().manual_seed(1)
    streams_RD = torch.randn(2, 5, count, _WIDTH, generator=generator)
    added_BTD, probe_RD = torch.randn(2, 5, _WIDTH, generator=generator), torch.randn(streams_RD.shape)
    mine_RD, theirs_RD = (streams_RD.clone().requires_grad_() for _ in range(2))

    step = layer(mine_RD)
    post_R, comb_RR, read_BTD = made(theirs_RD)
    torch.testing.assert_close(step.read_1D.squeeze(-2), read_BTD, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(step.write_R1.squeeze(-1), post_R, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(step.carry_RR, comb_RR.mT, rtol=1e-4, atol=1e-5)

    found_RD = step.carry_RR @ mine_RD + step.write_R1 * added_BTD.unsqueeze(-2)
    expected_RD = post_R.unsqueeze(-1) * added_BTD.unsqueeze(-2) + torch.matmul(comb_RR.transpose(-1, -2), theirs_RD)
    (found_RD * probe_RD).sum().add(step.read_1D.sum()).backward()
    (expected_RD * probe_RD).sum().add(read_BTD.sum()).backward()
    torch.testing.assert_close(mine_RD.grad, theirs_RD.grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours["dynamic_CX"].grad[order], made.fn.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours["scales"].grad[[1, 0, 2]], made.scale.grad, rtol=1e-3, atol=1e-3)
