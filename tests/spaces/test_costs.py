"""Closed-form costs against counted ones: on each fusion alone and on 50 whole models drawn at random.

A depth average is not a matrix product, so the counter counts its multiplications and multiply-adds as 2 an
output element. On a whole model, where norms and rotations also multiply, it does so only on the fusion.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import BlockStyle
from depthweave.spaces.costs import costs_of, num_parameters
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, Fusion
from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from tests.spaces.driving import drive
from tests.spaces.flop_counting import DEPTH_AVERAGE, counted_flops

_STYLES = (
    BlockStyle(),
    BlockStyle(kind="llama"),
    BlockStyle(kind="llama", heads_per_kv=2),
    BlockStyle(kind="llama", heads_per_kv=3, qk_norm=True),
)


def _pass(fusion: Fusion, num_tokens: int) -> Callable[[], None]:
    def forward() -> None:
        states = [torch.randn(1, num_tokens, fusion.width) for _ in range(fusion.wiring.depth + 1)]
        drive(fusion, states)

    return forward


def _random_architecture(rng: random.Random, fusion: str) -> Architecture:
    depth = rng.randint(1, 8)
    if rng.random() < 0.5:
        wiring = strided_wiring(depth, dilation=rng.randint(1, 5), period=rng.randint(1, depth))
    else:
        blocks = sorted(rng.sample(range(1, depth + 1), rng.randint(1, depth)))
        wiring = Wiring(
            depth,
            tuple(Site(block, (*sorted(rng.sample(range(block), rng.randint(1, block))), block)) for block in blocks),
        )
    block = rng.choice(_STYLES)
    heads = block.heads_per_kv * rng.randint(1, 4)
    return Architecture(
        fusion=fusion,
        wiring=wiring,
        width=heads * 2 * rng.randint(1, 12),
        heads=heads,
        feed_forward=rng.randint(1, 100),
        vocabulary=rng.randint(2, 300),
        context=rng.randint(1, 40),
        block=block,
    )


def _random_architectures(number: int) -> list[Architecture]:
    rng = random.Random(7)
    fusions = list(FUSIONS)
    return [_random_architecture(rng, fusions[index % len(fusions)]) for index in range(number)]


def test_fusion_parameters_equal_counted_ones(fusion: Fusion) -> None:
    wiring = fusion.wiring
    norms = sum(len(fusion.own_norms(wiring, block)) for block in range(1, wiring.depth + 1))
    counted = sum(parameter.numel() for parameter in fusion.parameters()) + norms * fusion.width
    assert type(fusion).num_parameters(fusion.wiring, fusion.width) == counted


def test_fusion_operations_a_token_equal_counted_ones(fusion: Fusion) -> None:
    # From T to 2 T tokens: what is made once a pass, as dwatt's keys, drops out.
    few, many = (counted_flops(_pass(fusion, number), DEPTH_AVERAGE) for number in (8, 16))
    assert type(fusion).forward_flops(fusion.wiring, fusion.width) * 8 == many - few


@pytest.mark.parametrize("architecture", _random_architectures(50), ids=lambda item: f"{item.fusion}-{item.id}")
def test_parameters_and_operations_of_a_whole_model_equal_counted_ones(architecture: Architecture) -> None:
    costs = costs_of(architecture)
    model = Decoder(architecture)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert costs.embedding_parameters == model.embedding.weight.numel()
    assert costs.parameters == num_parameters(architecture) == counted - model.embedding.weight.numel()

    num_tokens = architecture.context
    tokens_BT = torch.zeros(1, num_tokens, dtype=torch.int64)
    one, two = (counted_flops(_pass(model.fusion, number), DEPTH_AVERAGE) for number in (num_tokens, 2 * num_tokens))
    once_a_pass = 2 * one - two
    depth_average = one - counted_flops(_pass(model.fusion, num_tokens))
    if model.fusion.value_source:
        # Driven by hand, values are as wide as states.
        depth_average //= architecture.block.heads_per_kv
    whole = counted_flops(lambda: model(tokens_BT)) + depth_average - once_a_pass
    assert costs.forward_flops * num_tokens == whole


def test_counter_sees_attention_over_the_whole_context() -> None:
    # Operations a token grow by 4 D a block for each token of context: the counter must not miss the fused kernel.
    short, long = (
        Architecture(fusion="none", wiring=Wiring(3), width=16, heads=2, feed_forward=16, vocabulary=8, context=context)
        for context in (16, 32)
    )
    assert costs_of(long).forward_flops - costs_of(short).forward_flops == 3 * 4 * 16 * 16

    def counted(architecture: Architecture) -> int:
        tokens_BT = torch.zeros(1, architecture.context, dtype=torch.int64)
        model = Decoder(architecture)
        return counted_flops(lambda: model(tokens_BT))

    assert counted(long) / 32 - counted(short) / 16 == 3 * 4 * 16 * 16


def test_kept_states_and_their_bytes() -> None:
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(12), width=64, heads=2, feed_forward=256, vocabulary=256, context=32
    )
    costs = costs_of(architecture)
    assert costs.kept_states == 13
    assert costs.kept_bytes_per_token == 13 * 64 * torch.empty(0, dtype=torch.float32).element_size()


@pytest.mark.parametrize(("dilation", "period", "gained"), [(1, 1, 1224), (2, 1, 624), (4, 1, 324), (4, 5, 62)])
def test_dwa_of_the_papers_48_blocks_costs_next_to_nothing(dilation: int, period: int, gained: int) -> None:
    sizes = {"width": 768, "heads": 12, "feed_forward": 3072, "vocabulary": 50_304, "context": 256}
    plain = costs_of(Architecture(fusion="none", wiring=Wiring(48), **sizes))
    # Lone sites, one each after blocks 1 to k - 1 where the period is 1, would be bare scales and are dropped.
    wiring = strided_wiring(48, dilation=dilation, period=period)
    dropped = wiring.num_connections - wiring.without_lone_sites().num_connections
    found = costs_of(Architecture(fusion="dwa", wiring=wiring, **sizes))
    assert found.parameters - plain.parameters == gained - dropped
    assert dropped == (dilation - 1 if period == 1 else 0)
    # The paper: at most 0.3 % more operations.
    assert 0 < found.forward_flops - plain.forward_flops < 0.003 * plain.forward_flops
    assert plain.parameters + plain.embedding_parameters == pytest.approx(378e6, rel=0.01)


def test_costs_of_a_model_that_no_machine_could_build() -> None:
    architecture = Architecture(
        fusion="dwatt",
        wiring=strided_wiring(96),
        width=8192,
        heads=64,
        feed_forward=32768,
        vocabulary=50_000,
        context=4096,
    )
    assert costs_of(architecture).parameters > 3 * 10**11
