"""Blocks of the style `llama`: against a slow reference, with every fusion, and their sizes within a budget.

Axes: B batch, T tokens, D width, K head width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import GPT, BlockStyle, block_style_of
from depthweave.spaces.budget import resolve
from depthweave.spaces.costs import costs_of
from depthweave.spaces.decoder import Decoder, Layout
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.scaling import resize
from depthweave.spaces.wiring import Wiring, strided_wiring
from tests.fusion_names import FIRST_OF_FILES, others_are

_LLAMA = BlockStyle(kind="llama")
_SHARED = BlockStyle(kind="llama", heads_per_kv=2, qk_norm=True)
_STYLES = (_LLAMA, BlockStyle(kind="llama", heads_per_kv=4), _SHARED)
_SIZES = {"width": 32, "heads": 4, "feed_forward": 24, "vocabulary": 13, "context": 12}


def _made(fusion: str = "none", *, style: BlockStyle = _SHARED, wiring: Wiring | None = None) -> Architecture:
    return Architecture(fusion=fusion, wiring=wiring or strided_wiring(3), block=style, **_SIZES)


def _moved(architecture: Architecture, *, std: float = 0.3) -> Decoder:
    model = Decoder(architecture, seed=4)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=std)
    return model


@pytest.fixture
def tokens_BT() -> Tensor:
    return (torch.arange(24) * 5 % 13).view(2, 12)


# Against a slow reference.


def _norm(x_D: Tensor, gain_D: Tensor) -> Tensor:
    return x_D / torch.sqrt((x_D**2).mean() + 1e-5) * gain_D


def _turn(x_K: Tensor, position: int) -> Tensor:
    half = len(x_K) // 2
    turned = [
        complex(x_K[k], x_K[k + half]) * complex(math.cos(angle), math.sin(angle))
        for k in range(half)
        for angle in [position * 10_000 ** (-2 * k / len(x_K))]
    ]
    return torch.tensor([x.real for x in turned] + [x.imag for x in turned], dtype=torch.float64)


def _slow_logits(model: Decoder, tokens: list[int]) -> Tensor:
    """Logits [T, V] of the plain decoder, one token, one head and one earlier token at a time."""
    a = model.architecture
    weights = {name: weight.double() for name, weight in model.state_dict().items()}
    width, kv_width = a.width // a.heads, a.width // a.block.heads_per_kv
    x = [weights["embedding.weight"][token] for token in tokens]
    for block in range(a.depth):
        own = {name.removeprefix(f"blocks.{block}."): weight for name, weight in weights.items()}

        def ready(x_K: Tensor, name: str, at: int, own: dict[str, Tensor] = own) -> Tensor:
            gain_K = own.get(f"attention.qk_norms.{name}.weight")
            return _turn(x_K if gain_K is None else _norm(x_K, gain_K), at)

        parts = [own["attention.into.weight"] @ _norm(x_D, own["attention_norm.weight"]) for x_D in x]
        queries, keys, values = zip(*(part.split([a.width, kv_width, kv_width]) for part in parts), strict=True)
        mixed = []
        for now in range(len(x)):
            heads = []
            for head in range(a.heads):
                at = slice(head * width, (head + 1) * width)
                shared = head // a.block.heads_per_kv
                kv_at = slice(shared * width, (shared + 1) * width)
                query_K = ready(queries[now][at], "query", now)
                scores = [
                    float(query_K @ ready(keys[then][kv_at], "key", then)) / math.sqrt(width) for then in range(now + 1)
                ]
                total = sum(map(math.exp, scores))
                heads.append(torch.stack([math.exp(s) / total * values[n][kv_at] for n, s in enumerate(scores)]).sum(0))
            mixed.append(torch.cat(heads))
        x = [x_D + own["attention.out.weight"] @ mixed_D for x_D, mixed_D in zip(x, mixed, strict=True)]
        for now, x_D in enumerate(x):
            normed_D = _norm(x_D, own["feed_forward_norm.weight"])
            gate = own["feed_forward.gate.weight"] @ normed_D
            gate = gate / (1 + torch.exp(-gate))
            x[now] = x_D + own["feed_forward.out.weight"] @ (gate * (own["feed_forward.into.weight"] @ normed_D))
    return torch.stack([weights["embedding.weight"] @ _norm(x_D, weights["norm.weight"]) for x_D in x])


@pytest.mark.parametrize("style", _STYLES, ids=lambda style: style.text)
@torch.no_grad()
def test_plain_llama_decoder_equals_a_slow_reference(style: BlockStyle) -> None:
    model = _moved(_made(style=style))
    tokens = [3, 1, 4, 1, 5, 9, 2]
    # The rotary table is rounded to float32, and so is everything but the reference.
    torch.testing.assert_close(
        model(torch.tensor([tokens]))[0].double(), _slow_logits(model, tokens), rtol=1e-4, atol=1e-4
    )


# With every fusion.


@pytest.mark.parametrize("fusion", others_are(pytest.mark.slow, fast=FIRST_OF_FILES))
@torch.no_grad()
def test_fusion_on_llama_decodes_from_a_cache_as_in_a_full_pass(fusion: str, tokens_BT: Tensor) -> None:
    model = _moved(_made(fusion)).double()
    expected_BTV = model(tokens_BT)
    cache = DecodingCache()
    found = [model(part_BT, cache=cache) for part_BT in tokens_BT.split([5, 1, 1, 4, 1], dim=1)]
    torch.testing.assert_close(torch.cat(found, dim=1), expected_BTV, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fusion", others_are(pytest.mark.slow, fast=FIRST_OF_FILES))
def test_fusion_on_llama_starts_as_plain_llama_and_every_parameter_moves(fusion: str, tokens_BT: Tensor) -> None:
    model = Decoder(_made(fusion), seed=7)
    if FUSIONS[fusion].starts_as_identity:
        assert torch.equal(model(tokens_BT), Decoder(_made(), seed=7)(tokens_BT))
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, eps=1e-30)
    for _ in range(2):
        optimiser.zero_grad()
        model.loss(tokens_BT, tokens_BT.roll(-1, dims=1)).backward()
        optimiser.step()
    still = {name: int((parameter == start[name]).sum()) for name, parameter in model.named_parameters()}
    assert {name: number for name, number in still.items() if number} == {}


@pytest.mark.parametrize("fusion", others_are(pytest.mark.slow, fast=FIRST_OF_FILES))
def test_fusion_on_llama_stays_near_float32_under_autocast(fusion: str, tokens_BT: Tensor) -> None:
    model = _moved(_made(fusion), std=0.1)
    exact_BTV = model(tokens_BT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near_BTV = model(tokens_BT)
    near_BTV.sum().backward()
    assert (near_BTV.float() - exact_BTV).norm() < 0.06 * exact_BTV.norm()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@torch.no_grad()
def test_cache_holds_only_the_shared_keys_and_values(tokens_BT: Tensor) -> None:
    shapes: list[torch.Size] = []

    class Recorder(DecodingCache):
        def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
            shapes.extend([key_BHTK.shape, value_BHTK.shape])
            return super().extend(block, key_BHTK, value_BHTK)

    Decoder(_made("value_residual"))(tokens_BT, cache=Recorder())
    assert set(shapes) == {(2, 2, 12, 8)}


@torch.no_grad()
def test_mask_hides_tokens_of_shared_heads(tokens_BT: Tensor) -> None:
    model = _moved(_made())
    mask = torch.ones(1, 1, 12, 12, dtype=torch.bool).tril()
    embedded_BTD = model.embedding(tokens_BT)
    plain_BTD = model.hidden_of(embedded_BTD)
    torch.testing.assert_close(model.hidden_of(embedded_BTD, layout=Layout(mask_BHTS=mask)), plain_BTD)
    mask[..., 3:, 1] = False
    assert not torch.allclose(model.hidden_of(embedded_BTD, layout=Layout(mask_BHTS=mask)), plain_BTD)


# Starts and sizes.


def test_narrower_swiglu_starts_as_part_of_a_wider_one() -> None:
    narrow, wide = (Decoder(replace(_made(), feed_forward=units), seed=3).state_dict() for units in (24, 40))
    for name, weight in narrow.items():
        rows, *columns = weight.shape
        part = wide[name][:rows] if not columns else wide[name][:rows, : columns[0]]
        assert torch.equal(weight, part), name


@pytest.mark.parametrize("style", _STYLES, ids=lambda style: style.text)
@pytest.mark.parametrize("fusion", others_are(pytest.mark.slow, fast=FIRST_OF_FILES))
def test_budget_is_met_with_a_usual_ratio_and_whole_groups_of_heads(fusion: str, style: BlockStyle) -> None:
    for depth, budget in ((4, 1_020_000), (12, 5_000_000)):
        wiring = strided_wiring(depth, period=depth)
        sizes: dict[str, Any] = {"budget": budget, "vocabulary": 256, "context": 64, "head_width": 16, "block": style}
        found = resolve(fusion=fusion, wiring=wiring, **sizes)
        plain = resolve(fusion="none", wiring=Wiring(depth), **sizes)
        assert costs_of(found).parameters == pytest.approx(budget, rel=0.01)
        assert found.width == plain.width
        assert found.heads % style.heads_per_kv == 0
        # Two thirds of 2 to 5: three matrices in the place of two.
        assert 4 / 3 <= plain.feed_forward / plain.width <= 10 / 3


def test_swiglu_of_two_thirds_has_the_width_of_gpt() -> None:
    sizes: dict[str, Any] = {"budget": 3_000_000, "vocabulary": 256, "context": 64}
    gpt, llama = (resolve(fusion="none", wiring=Wiring(12), block=style, **sizes) for style in (GPT, _LLAMA))
    assert (gpt.width, gpt.heads) == (llama.width, llama.heads)
    assert llama.feed_forward == pytest.approx(gpt.feed_forward * 2 / 3, rel=0.05)


def test_heads_that_share_stay_together_at_another_width() -> None:
    assert resize(_made(), rule=None, width=64).architecture.kv_heads == 4
    with pytest.raises(
        ValueError, match=r"^width is 40: it must be a multiple of 16, .*heads_per_kv, 2: take 32 or 48$"
    ):
        resize(_made(), rule=None, width=40)


# Identity and files.


def test_style_is_part_of_the_identity_and_of_the_plain_form() -> None:
    found = [_made(style=style) for style in (GPT, *_STYLES)]
    assert len({item.id for item in found}) == len(set(found)) == 4
    assert [Architecture.from_dict(item.to_dict()) for item in found] == found
    assert "block" not in found[0].to_dict()
    # Written down on the day of the first release with styles.
    assert _made().id == "a24b3fa82382"


@pytest.mark.parametrize("value", ["gpt", "llama", {"kind": "llama", "heads_per_kv": 2, "qk_norm": True}])
def test_shortest_form_is_read_back(value: Any) -> None:
    assert block_style_of(value).to_value() == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("lama", r"^block 'lama' is not known: did you mean 'llama'\? Known: gpt, llama$"),
        ({"kind": "llama", "heads": 2}, r"^field .block\.heads. is not known: did you mean .block\.heads_per_kv"),
        ({"heads_per_kv": 2}, r"^block\.kind is None: give gpt or llama$"),
        ({"kind": "llama", "heads_per_kv": 0}, r"^block\.heads_per_kv is 0: give a whole number of at least 1$"),
        ({"kind": "llama", "qk_norm": 1}, r"^block\.qk_norm is 1: give true or false$"),
        ({"kind": "gpt", "heads_per_kv": 2}, r"^block: gpt has neither heads_per_kv nor qk_norm: leave them out"),
        (3, r"^block is 3: give gpt or llama, or a mapping with kind$"),
    ],
)
def test_style_that_cannot_be_is_refused_in_one_line(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        block_style_of(value)


def test_heads_that_no_group_divides_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^architecture\.heads is 4: it must be a multiple of block\.heads_per_kv, .* 3$"
    ):
        _made(style=BlockStyle(kind="llama", heads_per_kv=3))
