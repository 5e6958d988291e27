"""The fusion `value_residual`: its paper's equations in plain loops, its sites, what it holds and caches.

Axes: B batch, T tokens, H heads, K head width, D width, S sources of a site.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.wiring import Site, Wiring, strided_wiring

_SIZES = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}
_TOKENS = [3, 1, 4, 1, 5, 9, 2, 12]


def _model(wiring: Wiring, *, shares: tuple[float, ...] = ()) -> Decoder:
    model = Decoder(Architecture(fusion="value_residual", wiring=wiring, **_SIZES), seed=3).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        for parameter, share in zip(model.fusion.parameters(), shares, strict=False):
            parameter.fill_(share)
    return model


def _norm(x_D: Tensor, gain_D: Tensor) -> Tensor:
    centred_D = x_D - x_D.mean()
    return centred_D / torch.sqrt((centred_D**2).mean() + 1e-5) * gain_D


def _by_hand(model: Decoder, tokens: list[int], shares: dict[int, float]) -> Tensor:
    """Hidden states [T, D], a token and a head at a time; block l attends to V_l + lambda_l (V_1 - V_l)."""
    a, weights = model.architecture, model.state_dict()
    half = a.width // a.heads // 2
    cos_TK, sin_TK = (table.double() for table in model.rotary(slice(0, len(tokens)), torch.device("cpu")))

    def turned(x_K: Tensor, at: int) -> Tensor:
        first_K, second_K = x_K.chunk(2)
        cos_K, sin_K = cos_TK[at], sin_TK[at]
        return torch.cat([first_K * cos_K - second_K * sin_K, first_K * sin_K + second_K * cos_K])

    x = [weights["embedding.weight"][token] for token in tokens]
    first: list[Tensor] = []
    for block in range(1, a.depth + 1):
        own = {name.removeprefix(f"blocks.{block - 1}."): weight for name, weight in weights.items()}
        parts = [(own["attention.into.weight"] @ _norm(x_D, own["attention_norm.weight"])).chunk(3) for x_D in x]
        values = [value_D for _, _, value_D in parts]
        first = first or values
        share = shares.get(block, 0.0)
        values = [value_D + share * (first_D - value_D) for value_D, first_D in zip(values, first, strict=True)]
        for now in range(len(x)):
            heads = []
            for head in range(a.heads):
                at = slice(2 * half * head, 2 * half * (head + 1))
                query_K = turned(parts[now][0][at], now)
                scores = [
                    float(query_K @ turned(parts[then][1][at], then)) / math.sqrt(2 * half) for then in range(now + 1)
                ]
                total = sum(map(math.exp, scores))
                heads.append(torch.stack([math.exp(s) / total * values[n][at] for n, s in enumerate(scores)]).sum(0))
            x_D = x[now] + own["attention.out.weight"] @ torch.cat(heads)
            inner = own["feed_forward.into.weight"] @ _norm(x_D, own["feed_forward_norm.weight"])
            inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
            x[now] = x_D + own["feed_forward.out.weight"] @ inner
    return torch.stack([_norm(x_D, weights["norm.weight"]) for x_D in x])


@torch.no_grad()
def test_value_residual_equals_its_papers_equations_in_plain_loops() -> None:
    model = _model(strided_wiring(4, period=1), shares=(0.3, -0.4, 1.2))
    expected_TD = _by_hand(model, _TOKENS, {2: 0.3, 3: -0.4, 4: 1.2})
    torch.testing.assert_close(model.hidden(torch.tensor([_TOKENS]))[0], expected_TD, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_block_after_a_site_is_the_one_whose_values_are_mixed() -> None:
    model = _model(Wiring(4, (Site(2, (1, 2)),)), shares=(0.7,))
    expected_TD = _by_hand(model, _TOKENS, {3: 0.7})
    torch.testing.assert_close(model.hidden(torch.tensor([_TOKENS]))[0], expected_TD, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "sites"),
    [
        (strided_wiring(4), (1, 2, 3)),
        (strided_wiring(4, dilation=3), (1, 2, 3)),
        (strided_wiring(6, dilation=2, period=2), (2, 4)),
        (Wiring(4, (Site(3, (1, 2, 3)), Site(4, (0, 4)))), (3,)),
        (strided_wiring(4, period=4), ()),
    ],
)
def test_sites_are_those_before_another_block_whatever_they_read(given: Wiring, sites: tuple[int, ...]) -> None:
    found = Architecture(fusion="value_residual", wiring=given, **_SIZES)
    assert [(block, sources) for block, sources in found.wiring] == [(block, (0, block)) for block in sites]
    assert found.fusion == ("value_residual" if sites else "none")
    assert FUSIONS["value_residual"].canonical_wiring(found.wiring) is found.wiring


def test_one_scalar_a_site_without_decay_and_the_first_values_held_as_one_state() -> None:
    architecture = Architecture(fusion="value_residual", wiring=strided_wiring(4), **_SIZES)
    groups = Decoder(architecture).parameter_groups()
    assert [parameter.tolist() for parameter in groups.connections] == [0.0, 0.0, 0.0]
    assert costs_of(architecture).kept_states == 2


@torch.no_grad()
def test_connection_weights_are_the_share_of_the_first_values_and_the_rest() -> None:
    found = _model(strided_wiring(3), shares=(0.25, -0.5)).connection_weights(torch.tensor([_TOKENS]))
    assert [(weight.site, weight.source, round(weight.value, 6)) for weight in found] == [
        (1, 0, 0.25),
        (1, 1, 0.75),
        (2, 0, -0.5),
        (2, 2, 1.5),
    ]


@torch.no_grad()
def test_mixed_values_are_cached() -> None:
    model = _model(strided_wiring(3), shares=(1.0, 1.0))
    values: dict[int, Tensor] = {}

    class Recorder(DecodingCache):
        def extend(self, block: int, key_BHTK: Tensor, value_BHTK: Tensor) -> tuple[Tensor, Tensor]:
            keys, values[block] = super().extend(block, key_BHTK, value_BHTK)
            return keys, values[block]

    cache = Recorder()
    for part_BT in torch.tensor([_TOKENS]).split([5, 1, 2], dim=1):
        model(part_BT, cache=cache)
    # With a share of 1 every block has the values of the first.
    assert torch.allclose(values[2], values[1], atol=1e-12)
    assert torch.allclose(values[3], values[1], atol=1e-12)
