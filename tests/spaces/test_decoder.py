"""The decoder: against a slow reference, cached decoding, starts by seed, parameter groups, connection weights.

Axes: B batch, T tokens, D width, K head width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.fusions.streams import StreamsFusion
from depthweave.spaces.wiring import Site, Wiring, strided_wiring


def _plain(**sizes: int) -> Architecture:
    given = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12, **sizes}
    return Architecture(fusion="none", wiring=Wiring(3), **given)


# Against a slow reference.


def _norm(x_D: Tensor, gain_D: Tensor) -> Tensor:
    centred = x_D - x_D.mean()
    return centred / torch.sqrt((centred**2).mean() + 1e-5) * gain_D


def _turn(x_K: Tensor, position: int) -> Tensor:
    """Rotary position by complex numbers: features k and k + K/2 are one, turned by position * 10000^(-2k/K)."""
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
    width = a.width // a.heads
    x = [weights["embedding.weight"][token] for token in tokens]
    for block in range(a.depth):
        own = {name.removeprefix(f"blocks.{block}."): weight for name, weight in weights.items()}
        parts = [own["attention.into.weight"] @ _norm(x_D, own["attention_norm.weight"]) for x_D in x]
        mixed = []
        for now in range(len(x)):
            heads = []
            for head in range(a.heads):
                at = slice(head * width, (head + 1) * width)
                queries, keys, values = ([part.split(a.width)[i][at] for part in parts] for i in range(3))
                scores = [
                    float(_turn(queries[now], now) @ _turn(keys[then], then)) / math.sqrt(width)
                    for then in range(now + 1)
                ]
                total = sum(map(math.exp, scores))
                heads.append(sum((math.exp(s) / total * values[then] for then, s in enumerate(scores)), torch.zeros(1)))
            mixed.append(torch.cat(heads))
        x = [x_D + own["attention.out.weight"] @ mixed_D for x_D, mixed_D in zip(x, mixed, strict=True)]
        for now, x_D in enumerate(x):
            inner = own["feed_forward.into.weight"] @ _norm(x_D, own["feed_forward_norm.weight"])
            inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
            x[now] = x_D + own["feed_forward.out.weight"] @ inner
    return torch.stack([weights["embedding.weight"] @ _norm(x_D, weights["norm.weight"]) for x_D in x])


@torch.no_grad()
def test_plain_decoder_equals_a_slow_reference() -> None:
    model = Decoder(_plain(), seed=4)
    generator = torch.Generator().manual_seed(4)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    tokens = [3, 1, 4, 1, 5, 9, 2, 12]
    # The rotary table is rounded to float32, and so is everything but the reference.
    torch.testing.assert_close(
        model(torch.tensor([tokens]))[0].double(), _slow_logits(model, tokens), rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_loss_is_the_mean_negative_log_likelihood(model: Decoder, tokens_BT: Tensor) -> None:
    targets_BT = tokens_BT.roll(-1, dims=1)
    logits_BTV = model(tokens_BT).double()
    by_hand = [
        float(logits_BTV[b, t].exp().sum().log() - logits_BTV[b, t, targets_BT[b, t]])
        for b in range(2)
        for t in range(12)
    ]
    assert float(model.loss(tokens_BT, targets_BT)) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)


def test_head_is_tied_to_the_embedding() -> None:
    model = Decoder(_plain())
    assert [name for name, parameter in model.named_parameters() if 13 in parameter.shape] == ["embedding.weight"]
    hidden_BTD = model.hidden(torch.tensor([[1, 2]]))
    assert torch.equal(model(torch.tensor([[1, 2]])), hidden_BTD @ model.embedding.weight.T)


def test_untrained_loss_is_near_that_of_guessing() -> None:
    architecture = _plain(width=64, heads=2, vocabulary=256, context=64)
    tokens_BT = torch.randint(256, (8, 65), generator=torch.Generator().manual_seed(0))
    loss = float(Decoder(architecture, seed=0).loss(tokens_BT[:, :-1], tokens_BT[:, 1:]).detach())
    # The tied head over a normed state: logits of unit-width spread 0.02 * sqrt(768) add half its square, 0.15 nats.
    assert loss == pytest.approx(math.log(256) + 0.15, abs=0.15)


# Cached decoding.


@torch.no_grad()
def test_cached_decoding_equals_the_full_forward_however_it_is_split(model: Decoder, tokens_BT: Tensor) -> None:
    model = model.double()
    expected_BTV = model(tokens_BT)
    rng = random.Random(0)
    splits = [[1] * 12, [12], [11, 1], [1, 11], *([] for _ in range(6))]
    for split in splits:
        while sum(split) < 12:
            split.append(rng.randint(1, 12 - sum(split)))
        cache = DecodingCache()
        found_BTV = torch.cat([model(part_BT, cache=cache) for part_BT in tokens_BT.split(split, dim=1)], dim=1)
        assert cache.num_tokens == 12
        torch.testing.assert_close(found_BTV, expected_BTV, rtol=1e-9, atol=1e-9, msg=str(split))


@torch.no_grad()
def test_cache_has_room_for_long_contexts_and_forgets_what_is_taken_back() -> None:
    model = Decoder(dataclasses.replace(_plain(), context=200)).double()
    tokens_BT = torch.arange(200)[None] * 7 % 13
    expected_BTV, cache = model(tokens_BT), DecodingCache()
    model(tokens_BT[:, :90], cache=cache)
    model(tokens_BT.flip(1)[:, :60], cache=cache)
    cache.num_tokens = 90
    found = [model(tokens_BT[:, at : at + 1], cache=cache) for at in range(90, 200)]
    torch.testing.assert_close(torch.cat(found, dim=1), expected_BTV[:, 90:], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_cache_that_would_overflow_is_refused_and_left_as_it_was(model: Decoder, tokens_BT: Tensor) -> None:
    cache = DecodingCache()
    model(tokens_BT[:, :8], cache=cache)
    with pytest.raises(ValueError, match=r"^13 tokens do not fit into the context of 12$"):
        model(tokens_BT[:, :5], cache=cache)
    rest_BTV = model(tokens_BT[:, 8:], cache=cache)
    torch.testing.assert_close(rest_BTV, model(tokens_BT)[:, 8:], rtol=1e-4, atol=1e-4)


def test_more_tokens_than_the_context_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^13 tokens do not fit into the context of 12$"):
        Decoder(_plain())(torch.zeros(1, 13, dtype=torch.int64))


# Starts.


def test_same_seed_gives_the_same_weights_and_another_seed_others(architecture: Architecture) -> None:
    one, same, other = (dict(Decoder(architecture, seed=seed).named_parameters()) for seed in (5, 5, 6))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if name.endswith(("into.weight", "out.weight")))


def test_global_random_state_is_neither_read_nor_changed(architecture: Architecture) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = Decoder(architecture, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    other = Decoder(architecture, seed=5).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_shared_parameters_start_alike_whatever_the_fusion(architecture: Architecture) -> None:
    plain = dict(Decoder(replace(architecture, fusion="none"), seed=5).named_parameters())
    other = dict(Decoder(architecture, seed=5).named_parameters())
    assert set(plain) == {name for name in other if not name.startswith("fusion.") and "own_norms" not in name}
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_narrower_feed_forward_layers_start_as_parts_of_wider_ones() -> None:
    narrow, wide = (Decoder(_plain(feed_forward=units), seed=3).state_dict() for units in (24, 40))
    for name, weight in narrow.items():
        rows, *columns = weight.shape
        part = wide[name][:rows] if not columns else wide[name][:rows, : columns[0]]
        assert torch.equal(weight, part), name


def test_earlier_versions_drew_output_weights_row_by_row() -> None:
    name = "blocks.1.feed_forward.out.weight"
    weight = Decoder(_plain(), seed=3, initialisation="by_shape").get_parameter(name)
    seed = int.from_bytes(hashlib.sha256(f"3/{name}".encode()).digest()[:7], "big")
    drawn = torch.empty(16, 24).normal_(generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(weight.detach(), drawn * (0.02 * math.sqrt(768 / 16) / math.sqrt(2 * 3)))
    other = Decoder(_plain(), seed=3).get_parameter(name)
    assert not torch.equal(weight, other)
    assert float(weight.detach().std()) == pytest.approx(float(other.detach().std()), rel=0.2)


def test_blocks_of_one_model_start_differently() -> None:
    model = Decoder(_plain())
    starts = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    pairs = [(a, b) for i, a in enumerate(starts) for b in starts[:i] if a.shape == b.shape]
    assert pairs
    assert not any(torch.equal(a, b) for a, b in pairs)


def test_starts_have_the_papers_spread_at_its_width() -> None:
    model = Decoder(
        Architecture(fusion="none", wiring=Wiring(2), width=768, heads=12, feed_forward=64, vocabulary=500, context=8)
    )
    assert float(model.embedding.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert float(model.get_parameter("blocks.1.attention.into.weight").detach().std()) == pytest.approx(0.02, rel=0.02)
    out = float(model.get_parameter("blocks.1.attention.out.weight").detach().std())
    assert out == pytest.approx(0.02 / math.sqrt(4), rel=0.02)


# Parameter groups and connection weights.


def test_parameter_groups_hold_every_parameter_once(model: Decoder) -> None:
    groups = model.parameter_groups()
    grouped = [id(parameter) for group in groups for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert all(parameter.ndim >= 2 for parameter in groups.matrices)
    assert all(parameter.ndim < 2 for parameter in groups.vectors)
    assert list(map(id, groups.connections)) == list(map(id, model.fusion.connection_parameters()))


def test_dwa_has_no_decayed_connection_weight() -> None:
    groups = Decoder(replace(_plain(), fusion="dwa", wiring=strided_wiring(3))).parameter_groups()
    assert [parameter.numel() for parameter in groups.connections] == [2, 3, 4]


def _shown(architecture: Architecture) -> list[Site]:
    """Returns the sites whose weights can be seen: streams are mixed, and have none for each state."""
    return [] if issubclass(fusion_class(architecture.fusion), StreamsFusion) else list(architecture.wiring)


def test_connection_weights_at_the_start(architecture: Architecture, tokens_BT: Tensor) -> None:
    found = Decoder(architecture).connection_weights(tokens_BT)
    pairs = [(block, source) for block, sources in _shown(architecture) for source in sources]
    assert [(weight.site, weight.source) for weight in found] == pairs
    if architecture.fusion.startswith(("dwatt", "attnres")):
        for block, sources in architecture.wiring:
            own = [weight.value for weight in found if weight.site == block]
            assert sum(own) == pytest.approx(1, rel=1e-5)
            assert all(0.2 / len(sources) < value < 5 / len(sources) for value in own)
    else:
        # The block's own state with weight 1, the others with 0: for dwa as scalars, for concat as gains of the maps.
        assert [weight.value for weight in found] == [float(block == source) for block, source in pairs]


@torch.no_grad()
def test_connection_weights_of_dwa_are_its_parameters_and_of_concat_its_maps_gains(tokens_BT: Tensor) -> None:
    sizes = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}
    wiring = strided_wiring(6, dilation=2, period=3)
    dwa = Decoder(Architecture(fusion="dwa", wiring=wiring, **sizes))
    dwa.get_parameter("fusion.weights.6").copy_(torch.tensor([0.5, -2.0, 0.25, 3.0]))
    assert dwa.connection_weights(tokens_BT)[2:] == [(6, 0, 0.5), (6, 2, -2.0), (6, 4, 0.25), (6, 6, 3.0)]

    concat = Decoder(Architecture(fusion="concat", wiring=wiring, **sizes))
    maps_SDD = concat.get_parameter("fusion.maps.3")
    maps_SDD[0] = 2 * torch.eye(16)
    maps_SDD[1] = -torch.eye(16)
    # A map of twice the identity doubles every state; with the own identity taken away nothing is left of block 3.
    assert concat.connection_weights(tokens_BT)[:2] == [(3, 1, 2.0), (3, 3, 0.0)]


def test_observing_changes_no_output(model: Decoder, tokens_BT: Tensor) -> None:
    seen: list[int] = []
    observed = model(tokens_BT, observe=lambda block, _weights: seen.append(block))
    assert torch.equal(observed, model(tokens_BT))
    assert seen == [site.block for site in _shown(model.architecture)]
