"""The contract of every registered head: its start, padding, gradients, numbers, counts and seeds.

Axes: B batch, T tokens, D width, C classes, S sources.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from depthweave.spaces.heads import HEADS, Head, HeadShape, head_class, make_head
from tests.spaces.flop_counting import DEPTH_AVERAGE, counted_flops
from tests.spaces.graph_markers import GraphMarkers
from tests.spaces.small_heads import (
    ALL,
    SHAPES,
    padding_mask,
    random_head,
    random_states,
    random_targets,
)

_WEIGHING = ("mix", "concat", "dwatt", "dwa")


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> HeadShape:
    return SHAPES[request.param]


@pytest.fixture
def head(shape: HeadShape) -> Head:
    """A head far from its start."""
    return random_head(shape)


def _loss(head: Head, states: list[Tensor], mask_BT: Tensor) -> Tensor:
    targets_BT = random_targets(head.shape, mask_BT)
    return F.cross_entropy(head(states, mask_BT).flatten(0, 1).float(), targets_BT.flatten(), ignore_index=-100)


# The registry.


@pytest.mark.parametrize("kind", HEADS)
def test_registered_head_says_what_it_is(kind: str) -> None:
    found = head_class(kind)
    assert found is HEADS[kind]
    assert found.summary
    assert "\n" not in found.summary
    assert found.paper or kind == "last"


def test_unknown_head_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^head 'dwat' is not known: did you mean 'dwatt'\? Known: last, deeper, mix"):
        head_class("dwat")


# The start.


def test_fresh_head_starts_as_the_classifier_of_the_last_state(shape: HeadShape) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    last = make_head(SHAPES["last"], seed=7)
    found_BTC = make_head(shape, seed=7)(states, mask_BT)
    if head_class(shape.kind).starts_as_last:
        assert torch.equal(found_BTC, last(states[-1:], mask_BT))
    elif shape.kind == "deeper":
        # Its weights are small at the start: the last state is most of what the classifier reads.
        states = [states[-1] if shape.causal else F.layer_norm(states[-1], (shape.width,))]
        assert _cosine(found_BTC, last(states, mask_BT)) > 0.95
    else:
        assert shape.kind == "mix"
        if shape.causal:
            states = [F.layer_norm(state_BTD, (shape.width,)) for state_BTD in states]
        torch.testing.assert_close(found_BTC, last([torch.stack(states).mean(dim=0)], mask_BT))


def _cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    return F.cosine_similarity(left.flatten(), right.flatten(), dim=0).item()


def test_head_away_from_its_start_differs_from_the_classifier_of_the_last_state(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    away = (head(states, mask_BT) - head.classifier(states[-1])).abs().max()
    assert away > 0.1 if shape.kind != "last" else away == 0


def test_every_element_of_every_parameter_moves_within_two_steps(shape: HeadShape) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    head = make_head(shape, seed=1)
    start = {name: parameter.detach().clone() for name, parameter in head.named_parameters()}
    # The smallest eps: Adam then moves every element with a gradient, however small, and no other.
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.0, eps=1e-30)
    for _ in range(2):
        optimiser.zero_grad()
        _loss(head, states, mask_BT).backward()
        optimiser.step()
    still = {name: int((parameter == start[name]).sum()) for name, parameter in head.named_parameters()}
    assert {name: number for name, number in still.items() if number} == {}


# Padding and order.


@torch.no_grad()
def test_states_of_padding_change_nothing_at_real_tokens(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    others = [state_BTD.masked_fill(~mask_BT.unsqueeze(-1), 1000.0) for state_BTD in states]
    assert torch.equal(head(states, mask_BT)[mask_BT], head(others, mask_BT)[mask_BT])


@torch.no_grad()
def test_longer_padding_changes_nothing_at_real_tokens(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    longer = [F.pad(state_BTD, (0, 0, 0, 3), value=5.0) for state_BTD in states]
    found_BTC = head(longer, F.pad(mask_BT, (0, 3)))[:, : mask_BT.shape[1]]
    torch.testing.assert_close(found_BTC[mask_BT], head(states, mask_BT)[mask_BT], rtol=1e-5, atol=1e-5)


def test_sentence_of_padding_alone_gives_finite_logits_and_gradients(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    mask_BT[1] = False
    _loss(head, states, mask_BT).backward()
    assert head(states, mask_BT).isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


@torch.no_grad()
def test_integer_mask_of_a_tokenizer_gives_the_same_logits(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    assert torch.equal(head(states, mask_BT.long()), head(states, mask_BT))


@torch.no_grad()
def test_only_deeper_mixes_tokens_and_a_causal_one_only_earlier_ones(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), torch.ones(3, 6, dtype=torch.bool)
    before_BTC = head(states, mask_BT)
    changed = [state_BTD.clone() for state_BTD in states]
    for state_BTD in changed:
        state_BTD[0, 3] += 1.0
    same_BT = (head(changed, mask_BT) == before_BTC).all(dim=-1)
    rows = {"deeper": [[shape.causal] * 3 + [False] * 3]}
    assert same_BT.tolist() == [*rows.get(shape.kind, [[True, True, True, False, True, True]]), [True] * 6, [True] * 6]


# Numbers.


def test_bfloat16_autocast_stays_near_float32(shape: HeadShape) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    head = make_head(shape, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    exact_BTC = head(states, mask_BT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near_BTC = head(states, mask_BT)
        loss = _loss(head, states, mask_BT)
    loss.backward()
    # bfloat16 keeps 8 bits: an error of 0.4 % an operation.
    assert (near_BTC.float() - exact_BTC).norm() < 0.04 * exact_BTC.norm()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.dtype == torch.float32, name


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_states_of_another_precision_are_converted(shape: HeadShape, head: Head, dtype: torch.dtype) -> None:
    states, mask_BT = [state_BTD.to(dtype) for state_BTD in random_states(shape)], padding_mask()
    found_BTC = head(states, mask_BT)
    assert found_BTC.dtype == torch.float32
    assert torch.equal(found_BTC, head([state_BTD.float() for state_BTD in states], mask_BT))


def test_states_are_not_changed_in_place_and_get_gradients(shape: HeadShape, head: Head) -> None:
    states, mask_BT = [state_BTD.requires_grad_() for state_BTD in random_states(shape)], padding_mask()
    before = [state_BTD.detach().clone() for state_BTD in states]
    _loss(head, states, mask_BT).backward()
    assert all(map(torch.equal, states, before))
    # A trained host learns through every state that a head reads.
    assert all(state_BTD.grad is not None and state_BTD.grad.abs().sum() > 0 for state_BTD in states)


def test_graph_of_a_training_step_is_freed(shape: HeadShape, head: Head) -> None:
    markers, mask_BT = GraphMarkers(), padding_mask()
    # A trained host has a graph behind each of its states.
    states = [markers.behind(state_BTD.requires_grad_()) for state_BTD in random_states(shape)]
    loss = _loss(head, states, mask_BT)
    loss.backward()
    assert markers.num_alive == len(states)
    del loss, states
    assert markers.num_alive == 0


def test_gradients_equal_finite_differences(shape: HeadShape, head: Head) -> None:
    head, mask_BT = head.double(), padding_mask()
    states = [state_BTD.double().requires_grad_() for state_BTD in random_states(shape)]
    assert torch.autograd.gradcheck(lambda *given: head(given, mask_BT)[mask_BT], tuple(states), fast_mode=True)


def test_wrong_number_of_states_is_refused(shape: HeadShape, head: Head) -> None:
    states = random_states(shape)
    with pytest.raises(ValueError, match=rf"^there are {len(states) + 1} states: the head reads the {len(states)} "):
        head([*states, states[-1]], padding_mask())


# Counts.


def test_parameters_equal_counted_ones(shape: HeadShape, head: Head) -> None:
    assert HEADS[shape.kind].num_parameters(shape) == sum(parameter.numel() for parameter in head.parameters())


@pytest.mark.parametrize("tokens", [4, 6])
def test_operations_a_token_equal_counted_ones(shape: HeadShape, head: Head, tokens: int) -> None:
    # The attention of further blocks scales its queries and keys, which is no depth average.
    mapping = None if shape.kind == "deeper" else DEPTH_AVERAGE

    def counted(batch: int) -> int:
        states = [torch.randn(batch, tokens, shape.width) for _ in shape.sources]
        mask_BT = torch.ones(batch, tokens, dtype=torch.bool)
        return counted_flops(lambda: head(states, mask_BT), mapping)

    # From 3 to 6 sentences: what is made once a pass, as dwatt's keys, drops out.
    assert HEADS[shape.kind].forward_flops(shape, tokens=tokens) * 3 * tokens == counted(6) - counted(3)


def test_operations_without_a_length_leave_out_the_scores_of_attention(shape: HeadShape) -> None:
    found = head_class(shape.kind)
    scores = found.forward_flops(shape, tokens=10) - found.forward_flops(shape)
    assert scores == (shape.blocks * 4 * 10 * shape.width)


# Weights.


def test_state_dict_round_trip(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    other = make_head(shape, seed=5)
    other.load_state_dict(head.state_dict(), strict=True)
    assert torch.equal(other(states, mask_BT), head(states, mask_BT))


def test_weights_depend_on_the_seed_alone(shape: HeadShape) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, other = make_head(shape, seed=3), make_head(shape, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = make_head(shape, seed=3)
    assert all(map(torch.equal, one.parameters(), again.parameters()))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_all_heads_of_a_seed_have_the_same_classifier(shape: HeadShape) -> None:
    last = make_head(SHAPES["last"], seed=3)
    assert torch.equal(make_head(shape, seed=3).classifier.weight, last.classifier.weight)


def test_reset_restores_the_start(shape: HeadShape) -> None:
    head = make_head(shape, seed=3)
    head.reset_parameters(torch.Generator().manual_seed(9))
    start = {name: parameter.clone() for name, parameter in head.named_parameters()}
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(0.5)
    head.reset_parameters(torch.Generator().manual_seed(9))
    assert all(torch.equal(parameter, start[name]) for name, parameter in head.named_parameters())


def test_parameter_groups_hold_every_parameter_once(shape: HeadShape, head: Head) -> None:
    groups = head.parameter_groups()
    found = [id(parameter) for group in groups for parameter in group]
    assert sorted(found) == sorted(map(id, head.parameters()))
    assert all(parameter.ndim >= 2 for parameter in groups.matrices)
    assert all(parameter.ndim < 2 for parameter in groups.vectors)
    names = {id(parameter): name for name, parameter in head.named_parameters()}
    expected = {"mix": ["scalars_S"], "dwatt": ["site.positions_SK"], "dwa": ["fusion.weights.6"]}
    assert [names[id(parameter)] for parameter in groups.connections] == expected.get(shape.kind, [])


# What is seen of a pass.


@torch.no_grad()
def test_heads_that_weigh_sources_show_their_weights_once(shape: HeadShape, head: Head) -> None:
    states, mask_BT = random_states(shape), padding_mask()
    seen: list[tuple[int, Tensor]] = []
    found_BTC = head(states, mask_BT, observe=lambda block, weights: seen.append((block, weights)))
    assert torch.equal(found_BTC, head(states, mask_BT))
    if shape.kind not in _WEIGHING:
        assert seen == []
        return
    ((block, weights),) = seen
    assert block == shape.depth
    assert weights.shape[-1] == len(shape.sources)
    assert weights.shape[:-1] == ((3, 6) if shape.kind == "dwatt" else ())
    if shape.kind in ("mix", "dwatt"):
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize("kind", ["concat", "dwa"])
@torch.no_grad()
def test_weights_of_a_fresh_head_name_the_last_state_alone(kind: str) -> None:
    seen: list[Tensor] = []
    shape = SHAPES[f"{kind} all"]
    make_head(shape, seed=1)(random_states(shape), padding_mask(), observe=lambda _, weights: seen.append(weights))
    assert seen[0].tolist() == [0.0] * 6 + [1.0]


@torch.no_grad()
def test_scores_of_dwatt_saturate_at_the_start_only_if_unscaled() -> None:
    largest = {}
    for scaled in (True, False):
        shape = replace(SHAPES["dwatt all"], width=64, sources=ALL, scaled=scaled)
        seen: list[Tensor] = []
        head = make_head(shape, seed=1)
        head(random_states(shape), padding_mask(), observe=lambda _, weights, seen=seen: seen.append(weights))
        largest[scaled] = float(seen[0].max(dim=-1).values.mean())
    assert largest[True] < 0.4
    assert largest[False] > 0.6
