"""Fusions against the papers' equations, in plain loops over single tokens, with random weights.

Axes: D width, S sources of a site.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from depthweave.spaces.fusions import FUSIONS, Fusion
from depthweave.spaces.wiring import Wiring, strided_wiring

Weights = dict[str, Tensor]
Reference = Callable[[Weights, int, list[Tensor]], Tensor]
"""A site's output [D] from the fusion's state dict, the site's block and its sources' states [D], the own one last."""


def _none(weights: Weights, block: int, states_D: list[Tensor]) -> Tensor:
    raise AssertionError("none has no site")


def _dwa(weights: Weights, block: int, states_D: list[Tensor]) -> Tensor:
    """DenseFormer: Y_i = sum over j of a_ij X_j."""
    mixed_D = torch.zeros_like(states_D[-1])
    for number, state_D in enumerate(states_D):
        mixed_D += float(weights[f"weights.{block}"][number]) * state_D
    return mixed_D


def _concat(weights: Weights, block: int, states_D: list[Tensor]) -> Tensor:
    """DWAtt's baseline: h = W [z_1; ...; z_S], the own identity being part of W."""
    maps_SDD = weights[f"maps.{block}"].clone()
    maps_SDD[-1] += torch.eye(maps_SDD.shape[-1], dtype=maps_SDD.dtype)
    whole = torch.cat([map_DD.T for map_DD in maps_SDD], dim=1)
    return whole @ torch.cat(states_D)


def _dwatt(weights: Weights, block: int, states_D: list[Tensor]) -> Tensor:
    """DWAtt: h = z + softmax_n(q . k_n / sqrt(D)) v_n, k_n = W_K p_n, v_n = LN_n(f_n(z_n)), q = 1 + elu(z + f_Q(z))."""
    own = {name.removeprefix(f"sites.{block}."): weight for name, weight in weights.items()}
    width = len(states_D[-1])

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.sum() / len(x)
        spread = math.sqrt(float((centred**2).sum()) / len(x) + 1e-5)
        return centred / spread * own[f"{name}.weight"] + own[f"{name}.bias"]

    def gelu(x: float) -> float:
        return x * (1 + math.erf(x / math.sqrt(2))) / 2

    def f(x_D: Tensor, name: str) -> Tensor:
        inner = own[f"{name}.into.weight"] @ x_D + own[f"{name}.into.bias"]
        inner = torch.tensor([gelu(float(x)) for x in inner], dtype=inner.dtype)
        return own[f"{name}.out.weight"] @ norm(inner, f"{name}.norm") + own[f"{name}.out.bias"]

    raw_D = states_D[-1] + f(states_D[-1], "query")
    query_D = torch.tensor([1 + (float(x) if x > 0 else math.exp(x) - 1) for x in raw_D], dtype=raw_D.dtype)
    scores = []
    for position_K in own["positions_SK"]:
        key_D = own["key_KD"].T @ position_K
        scores.append(float((query_D * key_D).sum()) / math.sqrt(width))
    total = sum(math.exp(score) for score in scores)
    mixed_D = states_D[-1].clone()
    for number, (state_D, score) in enumerate(zip(states_D, scores, strict=True)):
        mixed_D += math.exp(score) / total * norm(f(state_D, f"values.{number}"), f"value_norms.{number}")
    return mixed_D


_REFERENCES: dict[str, Reference] = {"none": _none, "dwa": _dwa, "dwatt": _dwatt, "concat": _concat}


def test_every_registered_fusion_has_a_reference() -> None:
    """Fusions that a site's output does not describe have a file of their own, named after the fusion's file."""
    for name in FUSIONS.keys() - _REFERENCES.keys():
        file = FUSIONS[name].__module__.rpartition(".")[2]
        assert f"def test_{file}_equals_its_paper" in (Path(__file__).parent / f"test_fusion_{file}.py").read_text()


@torch.no_grad()
def test_fusion_equals_its_papers_equations_in_plain_loops(
    fusion: Fusion, states: list[Tensor], fusion_name: str
) -> None:
    if fusion_name not in _REFERENCES:
        pytest.skip("has a file of its own")
    fusion = fusion.double()
    states = [state.double() for state in states]
    weights = dict(fusion.state_dict())
    sources = dict(fusion.wiring.sites)
    reader = fusion.open()
    for block in range(fusion.wiring.depth + 1):
        found_BTD = reader.advance(block, states[block])
        for at in ((0, 0), (1, 4)):
            expected_D = states[block][at]
            if block in sources:
                expected_D = _REFERENCES[fusion_name](weights, block, [states[n][at] for n in sources[block]])
            torch.testing.assert_close(found_BTD[at], expected_D, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["dwa", "concat"])
@torch.no_grad()
def test_linear_fusions_are_linear_in_the_states(name: str) -> None:
    wiring = strided_wiring(4)
    fusion = FUSIONS[name](wiring, 8).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in fusion.parameters():
        parameter.normal_(generator=generator)
    one, other = (torch.randn(5, 1, 2, 8, dtype=torch.float64, generator=generator) for _ in range(2))

    def last(states_SBTD: Tensor) -> Tensor:
        reader = fusion.open()
        return [reader.advance(block, states_SBTD[block]) for block in range(5)][-1]

    torch.testing.assert_close(last(2 * one - 3 * other), 2 * last(one) - 3 * last(other), rtol=1e-10, atol=1e-10)


def test_dwa_starts_as_in_the_paper() -> None:
    wiring = strided_wiring(12, dilation=4, period=5)
    fusion = FUSIONS["dwa"](wiring, 8)
    fusion.reset_parameters(torch.Generator())
    assert {name: value.tolist() for name, value in fusion.state_dict().items()} == {
        "weights.5": [0.0, 1.0],
        "weights.10": [0.0, 0.0, 1.0],
    }


@torch.no_grad()
def test_dwatt_weights_are_not_saturated_at_the_start() -> None:
    # Unscaled scores would give the largest source 0.75 to 0.82 of the whole, and the others no gradient.
    depth, width = 12, 64
    fusion = FUSIONS["dwatt"](Wiring(depth, strided_wiring(depth, period=depth).sites), width)
    fusion.reset_parameters(torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    generator = torch.Generator().manual_seed(1)
    states = [torch.randn(4, 32, width, generator=generator) for _ in range(depth + 1)]
    reader = fusion.open(observe=lambda _block, weights: seen.append(weights))
    for block in range(depth + 1):
        reader.advance(block, states[block])
    (weights_BTS,) = seen
    assert weights_BTS.shape == (4, 32, depth + 1)
    torch.testing.assert_close(weights_BTS.sum(dim=-1), torch.ones(4, 32))
    assert float(weights_BTS.max(dim=-1).values.mean()) < 0.4
