"""Attention Residuals against published code: flash-linear-attention's `naive_attnres`, and transformers' Inkling2.

    DEPTHWEAVE_ORACLES=FOLDER python -m pytest tests/oracles/test_attnres.py -m slow

FOLDER has a checkout of github.com/fla-org/flash-linear-attention under that name; its function needs `einops`.

Axes: B batch, T tokens, D width, S sources of a read.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block import Block, BlockStep
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.wiring import Site, Wiring
from tests.spaces.driving import drive

pytestmark = pytest.mark.slow

_WIDTH, _DEPTH = 16, 6


def _wiring(*ends: int) -> Wiring:
    return Wiring(_DEPTH, tuple(Site(end, (0, end)) for end in ends))


def _naive() -> Callable[..., Tensor]:
    pytest.importorskip("einops")
    path = Path(os.environ.get("DEPTHWEAVE_ORACLES", "."), "flash-linear-attention/fla/ops/attnres/naive.py")
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    spec = importlib.util.spec_from_file_location("naive_attnres", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., Tensor] = module.naive_attnres
    return found


@pytest.mark.parametrize(
    ("name", "wiring"), [("attnres", _wiring(1, 2, 3, 4, 5)), ("attnres", _wiring(2, 5)), ("attnres_full", _wiring(6))]
)
def test_reads_and_gradients_equal_those_of_flash_linear_attention(name: str, wiring: Wiring) -> None:
    naive = _naive()
    canonical = FUSIONS[name].canonical_wiring(wiring)
    fusion = FUSIONS[name](canonical, _WIDTH)
    generator = torch.Generator().manual_seed(1)
    queries_QD = fusion.get_parameter("queries.weight")
    with torch.no_grad():
        queries_QD.normal_(std=0.5, generator=generator)
    states = [torch.randn(2, 3, _WIDTH, generator=generator, requires_grad=True) for _ in range(_DEPTH + 1)]
    probes = torch.randn(2 * _DEPTH + 1, 2, 3, _WIDTH, generator=generator)

    # The layers' loop of its models: `sums` are the ended segments, `open_BTD` is the prefix sum.
    sums, open_BTD, expected = [states[0]], None, [states[0]]
    ends = {site.block for site in canonical}
    for layer in range(2 * _DEPTH):
        block = layer // 2 + 1
        added_BTD = states[block] if layer % 2 else states[block].flip(-1)
        open_BTD = added_BTD if open_BTD is None else open_BTD + added_BTD
        if name == "attnres_full" or (layer % 2 and block in ends):
            sums, open_BTD = [*sums, open_BTD], None
        sources = sums if open_BTD is None else [*sums, open_BTD]
        expected.append(naive(queries_QD[layer], sources, torch.ones(_WIDTH)))

    found = drive(fusion, states)
    given = [queries_QD, *states]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad((torch.stack(item) * probes).sum(), given) for item in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class _Attention(nn.Module):
    """The attention of our block, called as Inkling2 calls its own."""

    def __init__(self, block: Block, step: BlockStep) -> None:
        super().__init__()
        self.block, self.step = block, step

    def forward(self, hidden_states: Tensor, **given: Any) -> tuple[Tensor, None]:
        others = [given[name] for name in ("key_hidden_states", "value_hidden_states") if name in given]
        out_BTD: Tensor = self.block.attention([hidden_states, *others], self.step)[0]
        return out_BTD, None


class _Same(nn.Module):
    """Stands for the convolutions, which our layers do not have."""

    def forward(self, x_BTD: Tensor, **_: Any) -> Tensor:
        return x_BTD


def _raw_values(inkling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has Inkling2 read the states that it normed, as the paper does; scores, softmax and norm stay its own."""
    before: list[Tensor] = []
    norm, attend = inkling.Inkling2UnweightedRMSNorm.forward, inkling.F.scaled_dot_product_attention

    def normed(self: nn.Module, x: Tensor) -> Tensor:
        before.append(x)
        found: Tensor = norm(self, x)
        return found

    class Functional:
        @staticmethod
        def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
            assert value is key
            mixed: Tensor = attend(query, key, before.pop(), **options)
            return mixed

    monkeypatch.setattr(inkling.Inkling2UnweightedRMSNorm, "forward", normed)
    monkeypatch.setattr(inkling, "F", Functional)


def _inkling_layers(inkling: Any, model: Decoder, ends: set[int], step: BlockStep) -> list[nn.Module]:
    """Its decoder layers with our attention, feed-forward layers, norms and queries."""
    ways = 3 if model.architecture.fusion == "attnres3" else 1
    rows = iter(model.fusion.get_parameter("queries.weight").detach())
    kind = inkling.Inkling2FullDecoderLayer if ways == 3 else inkling.Inkling2SlidingDecoderLayer
    layers: list[nn.Module] = []
    for number, block in enumerate(model.blocks, start=1):
        assert isinstance(block, Block)
        layer = kind.__new__(kind)
        nn.Module.__init__(layer)
        layer.gradient_checkpointing = False
        layer.is_block_boundary = number == 1 or number - 1 in ends
        layer.attention_input = None if number == 1 else _residual(inkling, [next(rows) for _ in range(ways)])
        layer.mlp_input = _residual(inkling, [next(rows)])
        layer.self_attn, layer.mlp = _Attention(block, step._replace(number=number)), block.feed_forward
        layer.input_layernorm = layer.q_input_layernorm = block.attention_norm
        own = dict(block.own_norms.items())
        layer.k_input_layernorm = own.get("key", block.attention_norm)
        layer.v_input_layernorm = own.get("value", block.attention_norm)
        layer.post_attention_layernorm = block.feed_forward_norm
        layer.post_attention_convolution = layer.post_mlp_convolution = _Same()
        layers.append(layer)
    layers.append(_residual(inkling, [next(rows)]))
    return layers


def _residual(inkling: Any, queries: list[Tensor]) -> nn.Module:
    made: nn.Module = inkling.Inkling2BlockAttentionResidual(
        type("Config", (), {"hidden_size": _WIDTH}), num_queries=len(queries)
    )
    # Its temperature is 1 / sqrt(D), ours is 1.
    made.query = nn.Parameter(torch.stack(queries).squeeze(0) * _WIDTH**0.5)
    return made


@pytest.mark.parametrize("name", ["attnres", "attnres3"])
@pytest.mark.parametrize("ends", [(1, 2, 3, 4, 5), (2, 4), (3,), (6,)])
def test_models_equal_inkling2_with_our_layers(
    name: str, ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    inkling = pytest.importorskip("transformers.models.inkling2.modeling_inkling2")
    _raw_values(inkling, monkeypatch)
    sizes = {"width": _WIDTH, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}
    model = Decoder(Architecture(fusion=name, wiring=_wiring(*ends), **sizes), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
        tokens_BT = torch.randint(13, (2, 12), generator=generator)
        found_BTD = model.hidden(tokens_BT)
        step = BlockStep(1, model.rotary(slice(0, 12), torch.device("cpu")))
        *layers, final = _inkling_layers(inkling, model, set(ends), step)
        state_BTD = model.embedding(tokens_BT)
        whole_BTSD = state_BTD.new_zeros(2, 12, 0, _WIDTH)
        for layer in layers:
            new_BTD = layer(state_BTD, whole_BTSD)
            if layer.is_block_boundary:
                whole_BTSD = torch.cat([whole_BTSD, state_BTD.unsqueeze(-2)], dim=-2)
            state_BTD = new_BTD
        expected_BTD = model.norm(final(whole_BTSD, state_BTD)[0])
    torch.testing.assert_close(found_BTD, expected_BTD, rtol=1e-5, atol=1e-5)
