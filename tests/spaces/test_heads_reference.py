"""Heads against the papers' equations, in plain loops over single tokens, with random weights.

Axes: D width, S sources, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depthweave.spaces.heads import HEADS, HeadShape
from tests.spaces.small_heads import SHAPES, padding_mask, random_head, random_states

Weights = dict[str, Tensor]
Reference = Callable[[HeadShape, Weights, list[list[Tensor]], list[int], int], Tensor]
"""What the classifier reads [D] at a token, given the head's state dict, its sources' states by source and token, the
numbers of the sentence's real tokens, and the token's number."""


def _norm(x: Tensor, weights: Weights | None = None, name: str = "") -> Tensor:
    centred = x - x.sum() / len(x)
    normed = centred / math.sqrt(float((centred**2).sum()) / len(x) + 1e-5)
    return normed if weights is None else normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    found = torch.stack([(row * x).sum() for row in weights[f"{name}.weight"]])
    return found + weights[f"{name}.bias"] if f"{name}.bias" in weights else found


def _gelu(x: Tensor) -> Tensor:
    return torch.stack([item * (1 + math.erf(float(item) / math.sqrt(2))) / 2 for item in x])


def _softmax(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def _last(shape: HeadShape, weights: Weights, states: list[list[Tensor]], real: list[int], at: int) -> Tensor:
    return states[-1][at]


def _mix(shape: HeadShape, weights: Weights, states: list[list[Tensor]], real: list[int], at: int) -> Tensor:
    """ELMo: gamma sum over j of s_j h_j."""
    mixed_D = torch.zeros(shape.width, dtype=torch.float64)
    for share, state in zip(_softmax(weights["scalars_S"].tolist()), states, strict=True):
        mixed_D += share * (_norm(state[at]) if shape.causal else state[at])
    return float(weights["gamma"]) * mixed_D


def _concat(shape: HeadShape, weights: Weights, states: list[list[Tensor]], real: list[int], at: int) -> Tensor:
    """DWAtt's baseline: h = W [z_1; ...; z_S], W of rank R, the identity of the last state being added."""
    down = weights["down_SDR"].reshape(-1, shape.inner)
    return states[-1][at] + (torch.cat([state[at] for state in states]) @ down) @ weights["up_RD"]


def _dwatt(shape: HeadShape, weights: Weights, states: list[list[Tensor]], real: list[int], at: int) -> Tensor:
    """DWAtt: h = z_L + softmax_n(q . k_n) v_n, k_n = W_K p_n, v_n = LN_n(f_n(z_n)), q = 1 + elu(z_L + f_Q(z_L))."""
    own_D = states[-1][at]

    def f(x_D: Tensor, name: str) -> Tensor:
        inner = _norm(_gelu(_linear(x_D, weights, f"site.{name}.into")), weights, f"site.{name}.norm")
        return _linear(inner, weights, f"site.{name}.out")

    raw_D = own_D + f(own_D, "query")
    query_D = torch.tensor([1 + (float(x) if x > 0 else math.exp(x) - 1) for x in raw_D], dtype=torch.float64)
    keys = [weights["site.key_KD"].T @ position_K for position_K in weights["site.positions_SK"]]
    divisor = math.sqrt(shape.width) if shape.scaled else 1.0
    mixed_D = own_D.clone()
    for number, share in enumerate(_softmax([float((query_D * key_D).sum()) / divisor for key_D in keys])):
        value_D = f(states[number][at], f"values.{number}")
        mixed_D += share * _norm(value_D, weights, f"site.value_norms.{number}")
    return mixed_D


def _dwa(shape: HeadShape, weights: Weights, states: list[list[Tensor]], real: list[int], at: int) -> Tensor:
    """DenseFormer: Y = sum over j of a_j X_j."""
    mixed_D = torch.zeros(shape.width, dtype=torch.float64)
    for weight, state in zip(weights[f"fusion.weights.{shape.depth}"].tolist(), states, strict=True):
        mixed_D += weight * state[at]
    return mixed_D


def _deeper(shape: HeadShape, weights: Weights, states: list[list[Tensor]], real: list[int], at: int) -> Tensor:
    """BERT's layers, or GPT-2's: norms after the residuals, or before attention and feed-forward layers."""
    current = dict(enumerate(states[-1]))
    for number in range(shape.blocks):
        own = {name.removeprefix(f"blocks.{number}."): weight for name, weight in weights.items()}
        current = {token: _block(shape, own, current, real, token) for token in real}
    return current[at]


def _block(shape: HeadShape, own: Weights, states: dict[int, Tensor], real: list[int], at: int) -> Tensor:
    def read(token: int) -> Tensor:
        return _norm(states[token], own, "attention_norm") if shape.causal else states[token]

    seen = [token for token in real if token <= at or not shape.causal]
    size = shape.width // shape.heads
    query_D = _linear(read(at), own, "query")
    parts = []
    for head in range(shape.heads):
        part = slice(head * size, (head + 1) * size)
        keys = [_linear(read(token), own, "key")[part] for token in seen]
        shares = _softmax([float((query_D[part] * key_K).sum()) / math.sqrt(size) for key_K in keys])
        values = [_linear(read(token), own, "value")[part] for token in seen]
        parts.append(torch.stack([share * value_K for share, value_K in zip(shares, values, strict=True)]).sum(dim=0))
    x_D = states[at] + _linear(torch.cat(parts), own, "attention_out")
    if not shape.causal:
        x_D = _norm(x_D, own, "attention_norm")
    inner = _norm(x_D, own, "feed_forward_norm") if shape.causal else x_D
    x_D = x_D + _linear(_gelu(_linear(inner, own, "into")), own, "out")
    return x_D if shape.causal else _norm(x_D, own, "feed_forward_norm")


_REFERENCES: dict[str, Reference] = {
    "last": _last,
    "deeper": _deeper,
    "mix": _mix,
    "concat": _concat,
    "dwatt": _dwatt,
    "dwa": _dwa,
}


def test_every_registered_head_has_a_reference() -> None:
    assert _REFERENCES.keys() == HEADS.keys()


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_head_equals_its_papers_equations_in_plain_loops(name: str) -> None:
    shape, mask_BT = SHAPES[name], padding_mask()
    head = random_head(shape).double()
    states = [state_BTD.double() for state_BTD in random_states(shape)]
    weights = dict(head.state_dict())
    found_BTC = head(states, mask_BT)
    for row, at in ((0, 0), (0, 5), (1, 2), (2, 3)):
        real = mask_BT[row].nonzero().flatten().tolist()
        mixed_D = _REFERENCES[shape.kind](shape, weights, [list(state_BTD[row]) for state_BTD in states], real, at)
        expected_C = _linear(mixed_D, weights, "classifier")
        torch.testing.assert_close(found_BTC[row, at], expected_C, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_concat_of_full_rank_reaches_any_linear_map_of_all_states() -> None:
    shape = SHAPES["concat few"]
    assert shape.inner >= shape.width
    head = random_head(shape).double()
    generator = torch.Generator().manual_seed(3)
    wanted_SDD = torch.randn(2, shape.width, shape.width, dtype=torch.float64, generator=generator)
    less_own_SDD = wanted_SDD.clone()
    less_own_SDD[-1] -= torch.eye(shape.width, dtype=torch.float64)
    down, up = head.get_parameter("down_SDR"), head.get_parameter("up_RD")
    down.zero_()[:, :, : shape.width] = less_own_SDD
    up.zero_()[: shape.width] = torch.eye(shape.width, dtype=torch.float64)
    states = [state_BTD.double() for state_BTD in random_states(shape)]
    expected_BTD = torch.cat(states, dim=-1) @ wanted_SDD.flatten(0, 1)
    torch.testing.assert_close(head(states, padding_mask()), head.classifier(expected_BTD), rtol=1e-9, atol=1e-9)
