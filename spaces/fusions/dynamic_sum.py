"""Weighted sums of a site's states with weights of each token, for one or several ways at once.

Axes: B batch, T tokens, D width, S sources of a site, C ways, N tokens of all sequences.

A way is an input of a block with a sum of its own, such as the query. Backward needs the weights and the states, which
other layers keep anyway; a loop that autograd traces would keep an intermediate for each way. With several ways,
processors read each state once, as products of small matrices: [C, S] by [S, D] forward, [C, D] by [D, S] and [S, C] by
[C, D] backward. A few tokens are stacked at a time, never all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_TOKENS = 512
"""Tokens that are stacked at once, so that the stack stays in the processor's cache."""


def dynamic_sums(weights_BTCS: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
    """Returns one sum [B, T, D] for each way, given weights [B, T, C, S] and S states [B, T, D] of one type."""
    if torch.compiler.is_compiling():
        return traced_sums(weights_BTCS, states)
    return list(DynamicSums.apply(weights_BTCS, *states))


def traced_sums(weights_BTCS: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
    """Returns the same in a form that autograd and the compiler can trace; the compiler makes one kernel of a sum."""
    sums = []
    for weights in _by_way(weights_BTCS):
        sum_BTD = states[0] * weights[0]
        for state_BTD, weight_BT1 in zip(states[1:], weights[1:], strict=True):
            sum_BTD = torch.addcmul(sum_BTD, state_BTD, weight_BT1)
        sums.append(sum_BTD)
    return sums


class DynamicSums(torch.autograd.Function):
    """The same sums; keeps weights and states for the backward pass."""

    @staticmethod
    def forward(ctx: Any, weights_BTCS: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(weights_BTCS, *states)
        # Under autocast the products would round the states.
        with torch.autocast(weights_BTCS.device.type, enabled=False):
            if _by_products(weights_BTCS):
                return _sums_by_products(weights_BTCS, states)
            # Way by way: a sum stays in the processor's cache.
            return tuple([_sum(weights, states) for weights in _by_way(weights_BTCS)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights_BTCS, *states = ctx.saved_tensors
        with torch.autocast(weights_BTCS.device.type, enabled=False):
            if _by_products(weights_BTCS):
                return _backward_by_products(weights_BTCS, states, gradients)
            # One buffer for all products: a new one each takes a fifth of the time.
            by_weights_BTCS, product_BTD = torch.empty_like(weights_BTCS), torch.empty_like(states[0])
            for gradient_BTD, by_weights in zip(gradients, _by_way(by_weights_BTCS), strict=True):
                for state_BTD, by_weight_BT1 in zip(states, by_weights, strict=True):
                    torch.mul(gradient_BTD, state_BTD, out=product_BTD)
                    torch.sum(product_BTD, dim=-1, keepdim=True, out=by_weight_BT1)
            by_states = [_sum(weights, gradients) for weights in zip(*_by_way(weights_BTCS), strict=True)]
            return by_weights_BTCS, *by_states


def _by_products(weights_BTCS: Tensor) -> bool:
    """Returns whether products of small matrices are faster backward than a loop: not on a GPU, not for one way."""
    return weights_BTCS.device.type == "cpu" and weights_BTCS.shape[-2] > 1


def _by_way(weights_BTCS: Tensor) -> list[tuple[Tensor, ...]]:
    """Returns views [B, T, 1] of the weights, of each way and in it of each source."""
    return [weights_BTS.split(1, dim=-1) for weights_BTS in weights_BTCS.unbind(-2)]


def _sum(weights: Sequence[Tensor], states: Sequence[Tensor]) -> Tensor:
    """Returns the sum [B, T, D] of states with weights [B, T, 1]."""
    sum_BTD = states[0] * weights[0]
    for state_BTD, weight_BT1 in zip(states[1:], weights[1:], strict=True):
        sum_BTD.addcmul_(state_BTD, weight_BT1)
    return sum_BTD


def _sums_by_products(weights_BTCS: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
    weights_NCS = weights_BTCS.flatten(0, -3)
    sums = tuple(
        torch.empty_like(states[0], memory_format=torch.contiguous_format) for _ in range(weights_NCS.shape[1])
    )
    for some in _parts(len(weights_NCS)):
        sums_NCD = weights_NCS[some] @ _stack(states, some)
        for way, sum_BTD in enumerate(sums):
            sum_BTD.view(-1, sum_BTD.shape[-1])[some] = sums_NCD[:, way]
    return sums


def _backward_by_products(
    weights_BTCS: Tensor, states: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    weights_NCS = weights_BTCS.flatten(0, -3)
    by_weights_NCS = torch.empty_like(weights_NCS)
    by_states_NSD = states[0].new_empty(len(weights_NCS), len(states), states[0].shape[-1])
    for some in _parts(len(weights_NCS)):
        gradients_NCD = _stack(gradients, some)
        by_weights_NCS[some] = gradients_NCD @ _stack(states, some).mT
        torch.bmm(weights_NCS[some].mT, gradients_NCD, out=by_states_NSD[some])
    by_states = [by_state_ND.view(states[0].shape) for by_state_ND in by_states_NSD.unbind(1)]
    return by_weights_NCS.view(weights_BTCS.shape), *by_states


def _parts(num_tokens: int) -> Iterator[slice]:
    return (slice(start, start + _TOKENS) for start in range(0, num_tokens, _TOKENS))


def _stack(tensors: Sequence[Tensor], some: slice) -> Tensor:
    """Returns some tokens of the tensors, [N, tensors, D]."""
    return torch.stack([item.reshape(-1, item.shape[-1])[some] for item in tensors]).transpose(0, 1)
