"""The fusion `value_residual` against `add_value_residual` of the package x-transformers, weights copied over.

There v becomes lerp(v_1, v, mix), with a mix of each token and head, the sigmoid of a linear map: without the map's
matrix it is our rule with lambda = 1 - mix.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.wiring import strided_wiring

pytestmark = pytest.mark.slow

_SHARES = (0.2, 0.5, 0.9)
_A = Architecture(
    fusion="value_residual",
    wiring=strided_wiring(4),
    width=64,
    heads=2,
    feed_forward=48,
    vocabulary=13,
    context=12,
)


def _theirs() -> Any:
    package = pytest.importorskip("x_transformers")
    return package.Decoder(
        dim=_A.width,
        depth=_A.depth,
        heads=_A.heads,
        attn_dim_head=_A.width // _A.heads,
        rotary_pos_emb=True,
        rotary_emb_dim=_A.width // _A.heads,
        ff_mult=_A.feed_forward / _A.width,
        ff_no_bias=True,
        add_value_residual=True,
    ).double()


@torch.no_grad()
def _copied(model: Decoder, theirs: Any) -> None:
    """Copies our weights; their rotary positions turn neighbouring features, ours those half a head apart."""
    half = _A.width // _A.heads // 2
    order = torch.arange(2 * half).view(2, half).t().flatten()
    rows = torch.cat([head * 2 * half + order for head in range(_A.heads)])
    weights = model.state_dict()
    for number in range(_A.depth):
        own = {name.removeprefix(f"blocks.{number}."): weight for name, weight in weights.items()}
        (norm, *_), attention, _ = theirs.layers[2 * number]
        (other_norm, *_), feed_forward, _ = theirs.layers[2 * number + 1]
        query, key, value = own["attention.into.weight"].chunk(3)
        attention.to_q.weight.copy_(query[rows])
        attention.to_k.weight.copy_(key[rows])
        attention.to_v.weight.copy_(value)
        attention.to_out.weight.copy_(own["attention.out.weight"])
        if number:
            linear = attention.to_value_residual_mix[0]
            linear.weight.zero_()
            mix = 1.0 - _SHARES[number - 1]
            linear.bias.fill_(math.log(mix / (1.0 - mix)))
        linears = [module for module in feed_forward.modules() if isinstance(module, torch.nn.Linear)]
        linears[0].weight.copy_(own["feed_forward.into.weight"])
        linears[1].weight.copy_(own["feed_forward.out.weight"])
        _set_gain(norm, own["attention_norm.weight"])
        _set_gain(other_norm, own["feed_forward_norm.weight"])
    _set_gain(theirs.final_norm, weights["norm.weight"])


def _set_gain(norm: Any, gain_D: torch.Tensor) -> None:
    norm.gamma.copy_(gain_D - float(norm.unit_offset))


def test_hidden_states_and_gradients_equal_those_of_x_transformers() -> None:
    theirs = _theirs()
    model = Decoder(_A, seed=2)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
        for parameter, share in zip(model.fusion.parameters(), _SHARES, strict=True):
            parameter.fill_(share)
    model = model.double()
    _copied(model, theirs)
    x_BTD = torch.randn(2, 10, _A.width, generator=generator).double().requires_grad_()
    found_BTD = model.hidden_of(x_BTD)
    expected_BTD = theirs(x_BTD)
    print("largest difference", float((found_BTD - expected_BTD).detach().abs().max()))
    # Both have rotary angles in float32.
    torch.testing.assert_close(found_BTD, expected_BTD, rtol=1e-5, atol=1e-5)
    probe_BTD = torch.randn(found_BTD.shape, generator=generator).double()
    (found,) = torch.autograd.grad((found_BTD * probe_BTD).sum(), x_BTD)
    (expected,) = torch.autograd.grad((expected_BTD * probe_BTD).sum(), x_BTD)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
