"""The blocks of the head `deeper` against the layers of BERT and GPT-2 in transformers, with copied weights.

    python -m pytest tests/oracles/test_deeper_head.py -m slow

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from depthweave.spaces.heads.deeper import FurtherBlock, visible_tokens
from tests.spaces.small_heads import padding_mask

pytestmark = pytest.mark.slow

_WIDTH, _HEADS, _FEED_FORWARD = 32, 4, 48
_EPS = 1e-5


def _states() -> Tensor:
    return torch.randn(3, 6, _WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _drawn(layer: Any) -> Any:
    generator = torch.Generator().manual_seed(2)
    for parameter in layer.parameters():
        parameter.normal_(std=0.3, generator=generator)
    return layer.double().eval()


def _copied(weights: dict[str, Tensor], *, pre_norm: bool) -> FurtherBlock:
    block = FurtherBlock(_WIDTH, _HEADS, _FEED_FORWARD, pre_norm=pre_norm).double()
    block.load_state_dict(weights, strict=True)
    return block


def _scores_mask(visible_B1TT: Tensor) -> Tensor:
    return torch.zeros(visible_B1TT.shape, dtype=torch.float64).masked_fill(~visible_B1TT, -torch.inf)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_block_of_an_encoder_equals_a_layer_of_bert(implementation: str) -> None:
    bert = pytest.importorskip("transformers.models.bert.modeling_bert")
    config = bert.BertConfig(
        hidden_size=_WIDTH,
        num_attention_heads=_HEADS,
        intermediate_size=_FEED_FORWARD,
        layer_norm_eps=_EPS,
        attn_implementation=implementation,
    )
    layer = _drawn(bert.BertLayer(config))
    names = {
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "attention_out",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "into",
        "output.dense": "out",
        "output.LayerNorm": "feed_forward_norm",
    }
    given = layer.state_dict()
    weights = {
        f"{ours}.{part}": given[f"{theirs}.{part}"] for theirs, ours in names.items() for part in ("weight", "bias")
    }
    # Its key bias changes nothing: the softmax drops what all scores of a query have in common.
    assert weights.pop("key.bias").abs().min() > 0
    block, mask_BT = _copied(weights, pre_norm=False), padding_mask()
    expected_BTD = layer(_states(), _scores_mask(mask_BT[:, None, None, :].expand(-1, 1, 6, -1)))
    found_BTD = block(_states(), visible_tokens(mask_BT, causal=False))
    torch.testing.assert_close(found_BTD[mask_BT], expected_BTD[mask_BT], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_block_of_a_causal_host_equals_a_layer_of_gpt2() -> None:
    gpt2 = pytest.importorskip("transformers.models.gpt2.modeling_gpt2")
    config = gpt2.GPT2Config(
        n_embd=_WIDTH,
        n_head=_HEADS,
        n_inner=_FEED_FORWARD,
        layer_norm_epsilon=_EPS,
        activation_function="gelu",
        attn_implementation="eager",
    )
    layer = _drawn(gpt2.GPT2Block(config, layer_idx=0))
    given = layer.state_dict()
    weights: dict[str, Tensor] = {}
    for name, matrix, bias in zip(
        ("query", "key", "value"),
        given["attn.c_attn.weight"].split(_WIDTH, dim=1),
        given["attn.c_attn.bias"].split(_WIDTH),
        strict=True,
    ):
        weights |= {f"{name}.weight": matrix.T, f"{name}.bias": bias}
    assert weights.pop("key.bias").abs().min() > 0
    for theirs, ours in {"attn.c_proj": "attention_out", "mlp.c_fc": "into", "mlp.c_proj": "out"}.items():
        weights |= {f"{ours}.weight": given[f"{theirs}.weight"].T, f"{ours}.bias": given[f"{theirs}.bias"]}
    for theirs, ours in {"ln_1": "attention_norm", "ln_2": "feed_forward_norm"}.items():
        weights |= {f"{ours}.{part}": given[f"{theirs}.{part}"] for part in ("weight", "bias")}
    block, mask_BT = _copied(weights, pre_norm=True), padding_mask()
    visible_B1TT = visible_tokens(mask_BT, causal=True)
    expected_BTD = layer(_states(), attention_mask=_scores_mask(visible_B1TT))
    found_BTD = block(_states(), visible_B1TT)
    torch.testing.assert_close(found_BTD[mask_BT], expected_BTD[mask_BT], rtol=1e-10, atol=1e-10)
