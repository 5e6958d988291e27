"""Attention Residuals against the paper's equations in plain loops, and what they mean for wirings.

Axes: B batch, T tokens, D width, S sources of a read.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.fusions.depth_queries import DepthQueries
from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from tests.spaces.driving import drive

_NAMES = ("attnres", "attnres_full", "attnres3")
_SIZES = {"width": 16, "heads": 2, "feed_forward": 24, "vocabulary": 13, "context": 12}
_TOKENS_BT = (torch.arange(24) * 5 % 13).view(2, 12)


def _architecture(fusion: str, wiring: Wiring) -> Architecture:
    return Architecture(fusion=fusion, wiring=wiring, **_SIZES)


def _read(query_D: Tensor, sources: list[Tensor]) -> tuple[Tensor, list[float]]:
    """h = sum_i softmax_i(w . rms(v_i)) v_i at one token, and the softmax."""
    scores = []
    for source_D in sources:
        square = sum(float(x) ** 2 for x in source_D) / len(source_D)
        scores.append(
            sum(float(w) * float(x) for w, x in zip(query_D, source_D, strict=True)) / math.sqrt(square + 1e-6)
        )
    total = sum(math.exp(score) for score in scores)
    weights = [math.exp(score) / total for score in scores]
    return sum((w * source_D for w, source_D in zip(weights, sources, strict=True)), torch.zeros_like(query_D)), weights


def _inputs_by_paper(
    name: str, queries: Tensor, ends: set[int], added: list[tuple[Tensor, Tensor]], embedding_D: Tensor
) -> tuple[list[Tensor], dict[int, list[float]]]:
    """Every input [D] at one token in order, and the weights of the reads after the ends of segments.

    `added` has what the attention and the feed-forward layer of each block add.
    """
    ways = 3 if name == "attnres3" else 1
    whole, inputs, open_segment = [embedding_D], [embedding_D], []
    seen: dict[int, list[float]] = {}
    rows = iter(queries)
    for block, layers in enumerate(added, start=1):
        for layer, added_D in enumerate(layers):
            open_segment.append(added_D)
            if name == "attnres_full" or (layer == 1 and block in ends):
                whole.append(sum(open_segment, torch.zeros_like(embedding_D)))
                open_segment = []
            now = [*whole, sum(open_segment, torch.zeros_like(embedding_D))] if open_segment else whole
            reads = [_read(next(rows), now) for _ in range(ways if layer == 1 and block < len(added) else 1)]
            inputs += [mixed_D for mixed_D, _ in reads]
            if layer == 1 and block in ends:
                means = [sum(column) / len(reads) for column in zip(*(weights for _, weights in reads), strict=True)]
                if name == "attnres_full":
                    means = [means[0], *(a + b for a, b in zip(means[1::2], means[2::2], strict=True))]
                seen[block] = means
    assert next(rows, None) is None
    return inputs, seen


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("ends", [(1, 2, 3, 4, 5), (2, 4, 5), (3, 5), (5,)])
@torch.no_grad()
def test_attnres_equals_its_papers_equations_in_plain_loops(name: str, ends: tuple[int, ...]) -> None:
    architecture = _architecture(name, Wiring(5, tuple(Site(end, (0, end)) for end in ends)))
    fusion = FUSIONS[name](architecture.wiring, 16).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in fusion.parameters():
        parameter.normal_(std=0.5, generator=generator)
    states = [torch.randn(2, 3, 16, dtype=torch.float64, generator=generator) for _ in range(6)]
    observed: dict[int, Tensor] = {}
    found = drive(fusion, states, observe=lambda block, weights: observed.update({block: weights}))
    for at in ((0, 0), (1, 2)):
        # As `drive` does: the attention of a block adds its state reversed in the width.
        added = [(state[at].flip(-1), state[at]) for state in states[1:]]
        expected, weights = _inputs_by_paper(
            name,
            fusion.get_parameter("queries.weight"),
            {site.block for site in architecture.wiring},
            added,
            states[0][at],
        )
        # Inputs of a block that are the same tensor come once, so three ways have two more each.
        assert len(found) == len(expected)
        for input_BTD, expected_D in zip(found, expected, strict=True):
            torch.testing.assert_close(input_BTD[at], expected_D, rtol=1e-12, atol=1e-12)
        assert set(observed) == set(weights)
        for block, values in weights.items():
            assert len(values) == len(dict(architecture.wiring.sites)[block])
            torch.testing.assert_close(observed[block][at], torch.tensor(values).double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", _NAMES)
@torch.no_grad()
def test_fresh_model_reads_the_mean_of_its_sources(name: str) -> None:
    fusion = FUSIONS[name](_architecture(name, strided_wiring(3)).wiring, 16)
    fusion.reset_parameters(torch.Generator())
    states = [torch.randn(1, 2, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    attended = [state.flip(-1) for state in states]
    _, after_attention, *_ = drive(fusion, states)
    torch.testing.assert_close(after_attention, (states[0] + attended[1]) / 2)
    last = drive(fusion, states)[-1]
    number = 7 if name == "attnres_full" else 4
    torch.testing.assert_close(last, (sum(states) + sum(attended[1:])) / number)


def test_wirings_with_the_same_segments_are_one_architecture() -> None:
    strided = {(k, p): strided_wiring(12, dilation=k, period=p) for k in (1, 2, 4) for p in (1, 2, 3, 5, 12)}
    found = {pattern: _architecture("attnres", wiring) for pattern, wiring in strided.items()}
    assert len(set(found.values())) == 5
    assert all(found[k, p] == found[1, p] for k, p in found)
    assert found[1, 5].wiring.sites == (Site(5, (0, 5)), Site(10, (0, 5, 10)), Site(12, (0, 5, 10, 12)))
    # A site after the last block adds nothing: the last segment ends there anyway.
    assert found[1, 5] == _architecture("attnres", Wiring(12, (Site(5, (5,)), Site(10, (9, 10)))))
    assert {_architecture("attnres_full", wiring).wiring for wiring in strided.values()} == {strided_wiring(12)}
    assert {_architecture(name, Wiring(12)).fusion for name in _NAMES} == {"none"}
    for architecture in found.values():
        assert replace(architecture) == architecture


def test_segments_of_two_blocks_are_the_sources_of_dilation_two() -> None:
    assert _architecture("attnres", strided_wiring(12, period=2)).wiring == strided_wiring(12, dilation=2, period=2)


def test_kept_states_and_parameters_of_twelve_blocks() -> None:
    def costs(name: str, period: int = 1) -> tuple[int, int]:
        found = costs_of(_architecture(name, strided_wiring(12, period=period)))
        return found.kept_states, found.parameters - plain.parameters

    plain = costs_of(_architecture("none", Wiring(12)))
    assert costs("attnres") == (13, 24 * 16)
    assert costs("attnres", period=4) == (4, 24 * 16)
    assert costs("attnres", period=12) == (2, 24 * 16)
    assert costs("attnres_full") == (25, 24 * 16)
    # Two more queries and two norms for each block but the first.
    assert costs("attnres3") == (13, (24 + 22 + 22) * 16)


def test_backward_pass_keeps_states_and_weights_only() -> None:
    # 12 reads of 2 to 13 sources: a normed copy of each source a read would be 90 states more.
    architecture = replace(_architecture("attnres_full", strided_wiring(6)), width=256)
    fusion = FUSIONS["attnres_full"](architecture.wiring, 256)
    fusion.reset_parameters(torch.Generator())
    states = [torch.randn(2, 16, 256, requires_grad=True) for _ in range(7)]
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        inputs = drive(fusion, states)
    state_bytes = 2 * 16 * 256 * 4
    others = sum(size for size in kept.values() if size != state_bytes)
    # The embedding and what 12 layers add.
    assert Counter(kept.values())[state_bytes] == 13
    assert others < 2 * state_bytes
    assert len(inputs) == 13


@pytest.mark.parametrize("rows", [(0, None), (1, 3)])
def test_scores_have_the_gradients_of_the_plain_formula(rows: tuple[int, int | None]) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = DepthQueries(4, 5).double()
    with torch.no_grad():
        queries.weight.normal_(generator=generator)
    state_BTD = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    rms_BT1 = (state_BTD.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    expected_QBT = (state_BTD / rms_BT1 @ queries.weight[slice(*rows)].t()).movedim(-1, 0)
    found_QBT = torch.stack(queries(state_BTD, *rows))
    torch.testing.assert_close(found_QBT, expected_QBT, rtol=1e-13, atol=1e-13)
    probe_QBT = torch.randn(found_QBT.shape, dtype=torch.float64, generator=generator)
    gradients = [
        torch.autograd.grad((item * probe_QBT).sum(), [state_BTD, queries.weight]) for item in (found_QBT, expected_QBT)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_queries_have_no_decay_and_their_own_learning_rate() -> None:
    model = Decoder(_architecture("attnres3", strided_wiring(3)))
    groups = model.parameter_groups()
    assert [id(item) for item in groups.connections] == [id(model.get_parameter("fusion.queries.weight"))]
    # Norms of keys and values are gains like any other.
    assert sum(item is norm.weight for norm in _norms(model) for item in groups.vectors) == 4


def _norms(model: Decoder) -> list[nn.LayerNorm]:
    return [item for block in model.blocks for item in block.get_submodule("own_norms").children()]  # type: ignore[misc]


@torch.no_grad()
def test_sums_stay_in_the_type_of_the_embedding_under_autocast() -> None:
    fusion = FUSIONS["attnres"](_architecture("attnres", strided_wiring(8, period=8)).wiring, 16)
    fusion.reset_parameters(torch.Generator())
    small_BTD = torch.full((1, 1, 16), 2.0**-9)
    states = [torch.zeros(1, 1, 16), torch.ones(1, 1, 16).bfloat16(), *[small_BTD.bfloat16()] * 7]
    last_BTD = drive(fusion, states)[-1]
    assert last_BTD.dtype == torch.float32
    # In bfloat16 each of the small increments would be lost beside 1.
    assert torch.equal(last_BTD * 2, torch.full_like(last_BTD, 2 + 14 * 2.0**-9))
