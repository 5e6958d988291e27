"""Plain decoders of `llama` blocks against Llama and Qwen3 of transformers, weights copied over.

Axes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import BlockStyle
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.wiring import Wiring

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def _architecture(style: BlockStyle) -> Architecture:
    return Architecture(
        fusion="none", wiring=Wiring(3), width=64, heads=4, feed_forward=48, vocabulary=29, context=16, block=style
    )


def _theirs(a: Architecture) -> Any:
    transformers = pytest.importorskip("transformers")
    kind = "Qwen3" if a.block.qk_norm else "Llama"
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=a.vocabulary,
        hidden_size=a.width,
        intermediate_size=a.feed_forward,
        num_hidden_layers=a.depth,
        num_attention_heads=a.heads,
        num_key_value_heads=a.kv_heads,
        head_dim=a.width // a.heads,
        max_position_embeddings=a.context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config).double().eval()


def _copy(model: Decoder, theirs: Any) -> None:
    a, weights = model.architecture, model.state_dict()
    renamed = {"model.embed_tokens.weight": "embedding.weight", "model.norm.weight": "norm.weight"}
    found = {name: weights[ours] for name, ours in renamed.items()}
    found["lm_head.weight"] = weights["embedding.weight"]
    for number in range(a.depth):
        own = {
            name.removeprefix(f"blocks.{number}."): weight
            for name, weight in weights.items()
            if name.startswith(f"blocks.{number}.")
        }
        into = own["attention.into.weight"].split([a.width, *[a.block.kv_width(a.width)] * 2])
        layer = {f"self_attn.{name}_proj": part for name, part in zip("qkv", into, strict=True)} | {
            "self_attn.o_proj": own["attention.out.weight"],
            "mlp.gate_proj": own["feed_forward.gate.weight"],
            "mlp.up_proj": own["feed_forward.into.weight"],
            "mlp.down_proj": own["feed_forward.out.weight"],
            "input_layernorm": own["attention_norm.weight"],
            "post_attention_layernorm": own["feed_forward_norm.weight"],
        }
        if a.block.qk_norm:
            layer |= {f"self_attn.{n[0]}_norm": own[f"attention.qk_norms.{n}.weight"] for n in ("query", "key")}
        found |= {f"model.layers.{number}.{name}.weight": weight for name, weight in layer.items()}
    # Strict: every weight of theirs is one of ours.
    theirs.load_state_dict(found)


@pytest.mark.parametrize("heads_per_kv", [1, 2, 4])
@pytest.mark.parametrize("qk_norm", [False, True], ids=["Llama", "Qwen3"])
def test_logits_and_gradients_equal_those_of_transformers(heads_per_kv: int, qk_norm: bool) -> None:
    model = Decoder(_architecture(BlockStyle(kind="llama", heads_per_kv=heads_per_kv, qk_norm=qk_norm)), seed=2)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    model = model.double()
    theirs = _theirs(model.architecture)
    _copy(model, theirs)
    tokens_BT = torch.randint(29, (2, 16), generator=generator)
    found_BTV, expected_BTV = model(tokens_BT), theirs(input_ids=tokens_BT).logits
    print("largest difference", float((found_BTV - expected_BTV).detach().abs().max()))
    # Both have rotary angles in float32, and theirs norms in float32.
    torch.testing.assert_close(found_BTV, expected_BTV, rtol=1e-4, atol=1e-4)
    probe_BTV = torch.randn(found_BTV.shape, generator=generator).double()
    (found,) = torch.autograd.grad((found_BTV * probe_BTV).sum(), model.embedding.weight)
    (expected,) = torch.autograd.grad((expected_BTV * probe_BTV).sum(), theirs.model.embed_tokens.weight)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
