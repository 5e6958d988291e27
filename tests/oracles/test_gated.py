"""Gated residual against `Qwen4ExpTextGatedResidual` of transformers.

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


@pytest.mark.parametrize("name", ["gated2", "gated4"])
def test_layer_and_its_gradients_equal_those_of_qwen(name: str) -> None:
    official = pytest.importorskip("transformers.models.qwen4_exp.modeling_qwen4_exp")
    fusion = made_streams(name, depth=3, width=_WIDTH).float()
    layer = fusion.layers["2_attention"]
    assert isinstance(layer, StreamLayer)
    count, ours = fusion.streams, dict(layer.named_parameters())
    config = SimpleNamespace(hc_count=count, hidden_size=_WIDTH, hc_lowrank=len(ours["down_KX"]), rms_norm_eps=1e-6)
    made = official.Qwen4ExpTextGatedResidual(config)
    pairs = {
        "down_KX": made.input_mix_weight_down.weight,
        "up_XK": made.input_mix_weight_up.weight,
        "inject_RX": made.block_inject_weight.weight,
    }
    with torch.no_grad():
        # There are no biases there.
        ours["static_R"].zero_()
        for mine, theirs in pairs.items():
            theirs.copy_(ours[mine])

    generator = torch.Generator().manual_seed(1)
    streams_RD = torch.randn(2, 5, count, _WIDTH, generator=generator)
    added_BTD, probe_RD = torch.randn(2, 5, _WIDTH, generator=generator), torch.randn(streams_RD.shape)
    mine_RD, theirs_RD = (streams_RD.clone().requires_grad_() for _ in range(2))

    step = layer(mine_RD)
    read_BTD, kept, writes_R = made(theirs_RD.flatten(-2))
    torch.testing.assert_close(step.read_1D.squeeze(-2), read_BTD, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(step.write_R1.squeeze(-1), writes_R, rtol=1e-5, atol=1e-6)

    found_RD = mine_RD + step.write_R1 * added_BTD.unsqueeze(-2)
    expected_RD = (kept + (added_BTD.unsqueeze(-2) * writes_R.unsqueeze(-1)).flatten(-2)).view(streams_RD.shape)
    (found_RD * probe_RD).sum().add(step.read_1D.sum()).backward()
    (expected_RD * probe_RD).sum().add(read_BTD.sum()).backward()
    torch.testing.assert_close(mine_RD.grad, theirs_RD.grad, rtol=1e-4, atol=1e-5)
    for name_of, theirs in pairs.items():
        torch.testing.assert_close(ours[name_of].grad, theirs.grad, rtol=1e-4, atol=1e-4)
