"""The contract of every registered fusion: its start, its order in time, its gradients, its numbers, its passes.

Axes: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, Fusion, fusion_class
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.wiring import Site, Wiring, strided_wiring
from tests.spaces.driving import drive, step


def _equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


# The registry.


@pytest.mark.parametrize("fusion_name", FUSIONS)
def test_registered_fusion_says_what_it_is(fusion_name: str) -> None:
    found = fusion_class(fusion_name)
    assert found is FUSIONS[fusion_name]
    assert found.summary
    assert "\n" not in found.summary
    assert found.paper or fusion_name == "none"


def test_unknown_fusion_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^fusion 'concta' is not known: did you mean 'concat'\? Known: none, dwa"):
        fusion_class("concta")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("DenseFormer", "dwa"),
        ("muddformer", "mudd, mudd2 or mudd4"),
        ("hyper-connections", "hc2 or hc4"),
        ("mhc", "mhc2 or mhc4"),
        ("attention_residuals", "attnres or attnres_full"),
    ],
)
def test_name_of_a_paper_leads_to_the_fusion(name: str, ours: str) -> None:
    with pytest.raises(ValueError, match=f"^fusion '{name}' is not known: it is called {ours}.*Known: none, dwa"):
        fusion_class(name)


def test_fusion_with_one_wiring_gives_the_same_graph_for_each(fusion_name: str) -> None:
    found = fusion_class(fusion_name)
    wirings = (strided_wiring(6), strided_wiring(6, dilation=2, period=3), Wiring(6, (Site(3, (0, 3)),)))
    assert has_one_wiring(fusion_name) == (len({found.canonical_wiring(wiring) for wiring in wirings}) == 1)


# The start.


def test_fresh_model_computes_exactly_what_the_plain_transformer_does(
    architecture: Architecture, tokens_BT: Tensor
) -> None:
    if not FUSIONS[architecture.fusion].starts_as_identity:
        pytest.skip("its paper starts elsewhere")
    plain = Decoder(replace(architecture, fusion="none"), seed=7)
    assert torch.equal(Decoder(architecture, seed=7)(tokens_BT), plain(tokens_BT))


def test_model_away_from_its_start_differs_from_the_plain_transformer(model: Decoder, tokens_BT: Tensor) -> None:
    plain = Decoder(replace(model.architecture, fusion="none"), seed=1)
    away = (model(tokens_BT) - plain(tokens_BT)).abs().max()
    assert away > 0.1 if model.architecture.fusion != "none" else away == 0


def test_reset_restores_the_start_after_a_model_wide_initialisation(architecture: Architecture) -> None:
    model = Decoder(architecture, seed=3)
    start = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    model.reset_parameters(3)
    assert all(torch.equal(parameter, start[name]) for name, parameter in model.named_parameters())


def test_every_element_of_every_parameter_moves_within_two_steps(architecture: Architecture, tokens_BT: Tensor) -> None:
    model = Decoder(architecture, seed=1)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    # The smallest eps: Adam then moves every element with a gradient, however small, and no other.
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, eps=1e-30)
    for _ in range(2):
        optimiser.zero_grad()
        model.loss(tokens_BT, tokens_BT.roll(-1, dims=1)).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimiser.step()
    still = {name: int((parameter == start[name]).sum()) for name, parameter in model.named_parameters()}
    assert {name: number for name, number in still.items() if number} == {}


# Time and batch.


def test_change_of_one_token_leaves_all_earlier_outputs_untouched(fusion: Fusion, states: list[Tensor]) -> None:
    changed = [state.clone() for state in states]
    for state in changed:
        state[0, 3] += 1.0
    for before_BTD, after_BTD in zip(drive(fusion, states), drive(fusion, changed), strict=True):
        same_BT = (before_BTD == after_BTD).all(dim=-1)
        # A fusion mixes only over depth: no other token or sequence changes by a bit.
        assert same_BT.tolist() == [[True, True, True, False, True], [True] * 5]


def test_model_is_causal(model: Decoder, tokens_BT: Tensor) -> None:
    before_BTV = model(tokens_BT)
    for at in (0, 5, 11):
        changed_BT = tokens_BT.clone()
        changed_BT[0, at] = (changed_BT[0, at] + 1) % model.architecture.vocabulary
        after_BTV = model(changed_BT)
        assert torch.equal(after_BTV[0, :at], before_BTV[0, :at])
        assert torch.equal(after_BTV[1], before_BTV[1])
        assert not torch.equal(after_BTV[0, at], before_BTV[0, at])


# Gradients and numbers.


class _Pass(nn.Module):
    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, states_STD: Tensor) -> Tensor:
        return torch.stack(drive(self.fusion, list(states_STD)))


def test_gradients_equal_finite_differences(fusion: Fusion) -> None:
    whole = _Pass(fusion.double())
    names = [name for name, _ in whole.named_parameters()]
    shapes = [parameter.shape for parameter in whole.parameters()]
    generator = torch.Generator().manual_seed(5)
    states_STD = torch.randn(7, 1, fusion.width, dtype=torch.float64, generator=generator, requires_grad=True)
    start = torch.cat([torch.zeros(0).double(), *(parameter.detach().flatten() for parameter in whole.parameters())])

    def outputs(states_STD: Tensor, flat: Tensor) -> Tensor:
        parts = [part.view(shape) for part, shape in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True)]
        found: Tensor = functional_call(whole, dict(zip(names, parts, strict=True)), (states_STD,))
        return found

    # fast_mode compares along one random direction through all states and one through all parameters.
    assert torch.autograd.gradcheck(outputs, (states_STD, start.requires_grad_(bool(names))), fast_mode=True)


def test_bfloat16_autocast_stays_near_float32(architecture: Architecture, tokens_BT: Tensor) -> None:
    # Not far from the start: sums of states with large weights of both signs would cancel, and leave the errors.
    model = Decoder(architecture, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    targets_BT = tokens_BT.roll(-1, dims=1)
    exact_BTV = model(tokens_BT)
    exact = model.loss(tokens_BT, targets_BT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near_BTV = model(tokens_BT)
        near = model.loss(tokens_BT, targets_BT)
    near.backward()
    assert near_BTV.isfinite().all()
    # bfloat16 keeps 8 bits: an error of 0.4 % an operation, some 30 of them deep.
    assert (near_BTV.float() - exact_BTV).norm() < 0.04 * exact_BTV.norm()
    assert near.float().item() == pytest.approx(exact.item(), rel=0.04)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.dtype == torch.float32, name


# Passes.


@torch.no_grad()
@pytest.mark.parametrize("fusion_name", [name for name, made in FUSIONS.items() if made.carries_residual])
def test_carried_residual_stays_finite_in_bfloat16_on_a_deep_random_walk(fusion_name: str) -> None:
    depth, width = 48, 16
    made = fusion_class(fusion_name)
    fusion = made(made.canonical_wiring(strided_wiring(depth)), width)
    generator = torch.Generator().manual_seed(3)
    fusion.reset_parameters(generator)
    for parameter in fusion.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    states = [torch.randn(2, 5, width, generator=generator).bfloat16() for _ in range(depth + 1)]
    inputs = drive(fusion.bfloat16(), states)
    # As far as a random walk of 96 unit steps, times what the random weights amplify.
    assert all(found.isfinite().all() and found.abs().max() < 1e4 for found in inputs)


def test_two_interleaved_passes_equal_two_separate_ones(fusion: Fusion, states: list[Tensor]) -> None:
    others = [state.flip(1) * 0.5 for state in states]
    expected, expected_others = drive(fusion, states), drive(fusion, others)
    one, other = fusion.open(), fusion.open()
    found: list[Tensor] = []
    found_others: list[Tensor] = []
    for block in range(len(states)):
        found += step(fusion, one, block, states[block])
        found_others += step(fusion, other, block, others[block])
    assert _equal(found, expected)
    assert _equal(found_others, expected_others)


def test_states_are_not_changed_in_place(fusion: Fusion, states: list[Tensor]) -> None:
    before = [state.clone() for state in states]
    drive(fusion, states)
    assert _equal(states, before)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing_gives_the_same_gradients(
    model: Decoder, tokens_BT: Tensor, use_reentrant: bool
) -> None:
    probe_BTD = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    (model.hidden(tokens_BT) * probe_BTD).sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()

    def forward(_: Tensor, tokens_BT: Tensor) -> Tensor:
        return model.hidden(tokens_BT)

    # The first argument is there because the re-entrant kind needs an input with a gradient.
    hidden_BTD = checkpoint(forward, torch.ones(1, requires_grad=True), tokens_BT, use_reentrant=use_reentrant)
    (hidden_BTD * probe_BTD).sum().backward()
    for name, parameter in model.named_parameters():
        wanted = expected[name]
        assert (parameter.grad is None) == (wanted is None), name
        assert wanted is None or (parameter.grad is not None and torch.equal(parameter.grad, wanted)), name


def test_one_token_at_a_time_equals_all_at_once(fusion: Fusion, states: list[Tensor]) -> None:
    expected = drive(fusion, states)
    for at in range(states[0].shape[1]):
        for found, wanted in zip(drive(fusion, [state[:, at : at + 1] for state in states]), expected, strict=True):
            torch.testing.assert_close(found, wanted[:, at : at + 1], rtol=1e-5, atol=1e-5)


def test_state_dict_round_trip(fusion: Fusion, states: list[Tensor], architecture: Architecture) -> None:
    other = FUSIONS[architecture.fusion](architecture.wiring, architecture.width)
    other.load_state_dict(fusion.state_dict(), strict=True)
    assert _equal(drive(other, states), drive(fusion, states))


def test_weights_of_another_wiring_are_refused(fusion: Fusion, architecture: Architecture) -> None:
    if architecture.fusion == "none":
        pytest.skip("has no weights")
    other = FUSIONS[architecture.fusion](Wiring(architecture.depth), architecture.width)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_state_dict(fusion.state_dict(), strict=True)


def test_connection_parameters_are_the_modules_own(fusion: Fusion) -> None:
    own = {id(parameter) for parameter in fusion.parameters()}
    connections = [id(parameter) for parameter in fusion.connection_parameters()]
    assert set(connections) <= own
    assert len(set(connections)) == len(connections)


@pytest.mark.parametrize("fusion_name", FUSIONS)
def test_parameters_over_squared_width_do_not_rise_with_the_width(fusion_name: str) -> None:
    # Budgets rely on it to know, without trying all, which of them no width meets.
    for dilation, period in ((1, 1), (2, 3), (4, 12)):
        wiring = strided_wiring(12, dilation=dilation, period=period)
        widths = [2, 4, 6, 16, 30, 64, 256, 1000, 2**14, 2**20]
        shares = [Fraction(fusion_class(fusion_name).num_parameters(wiring, width), width**2) for width in widths]
        assert shares == sorted(shares, reverse=True)
