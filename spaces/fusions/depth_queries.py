"""The queries of a softmax over depth, and the scores of a source against them.

Axes: B batch, T tokens, D width, Q queries, N tokens of the batch.

The scores are an autograd function, because plain operations would keep a normed copy of each source: the pass keeps
the state itself, its scores and one factor a token. The compiler does not trace such functions and gets the formula.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from depthweave.spaces.fusions.rms import RMS_EPS


class DepthQueries(nn.Module):
    """The queries of all reads; a call scores one source for several of them."""

    def __init__(self, num_queries: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_queries, width))

    def forward(self, state_BTD: Tensor, first: int, end: int | None) -> tuple[Tensor, ...]:
        """Returns w . rms(v), [B, T] each, of the queries from `first` to before `end`.

        One product for all later reads, and a factor [B, T]: the normed state is neither made nor kept.
        """
        with torch.autocast(state_BTD.device.type, enabled=False):
            weight_QD, state_ND = self.weight.to(state_BTD), state_BTD.reshape(-1, state_BTD.shape[-1])
            score = _scores if torch.compiler.is_compiling() else _Scores.apply
            scores_QN, _ = score(weight_QD, state_ND, first, end)
            return tuple(scores_QN.view(-1, *state_BTD.shape[:-1]).unbind())


def _scores(weight_QD: Tensor, state_ND: Tensor, first: int, end: int | None) -> tuple[Tensor, Tensor]:
    """Returns scores [Q, N] and the root mean squares of the states, [N]."""
    square_N = torch.linalg.vector_norm(state_ND, dim=-1).square()
    rms_N = torch.sqrt(square_N / state_ND.shape[-1] + RMS_EPS)
    return weight_QD[first:end] @ state_ND.t() / rms_N, rms_N


class _Scores(torch.autograd.Function):
    """The same; its backward pass makes one gradient of the state, not one each for the product and for the norm."""

    @staticmethod
    def forward(ctx: Any, weight_QD: Tensor, state_ND: Tensor, first: int, end: int | None) -> tuple[Tensor, Tensor]:
        scores_QN, rms_N = _scores(weight_QD, state_ND, first, end)
        ctx.save_for_backward(weight_QD, state_ND, scores_QN, rms_N)
        ctx.rows = slice(first, end)
        ctx.mark_non_differentiable(rms_N)
        return scores_QN, rms_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_QN: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        weight_QD, state_ND, scores_QN, rms_N = ctx.saved_tensors
        by_weight_QD = torch.zeros_like(weight_QD)
        with torch.autocast(state_ND.device.type, enabled=False):
            by_product_QN = gradient_QN / rms_N
            torch.mm(by_product_QN, state_ND, out=by_weight_QD[ctx.rows])
            by_state_ND = by_product_QN.t() @ weight_QD[ctx.rows]
            # The root mean square r has the gradient v / (D r), the scores -score / r.
            share_N = (gradient_QN * scores_QN).sum(dim=0) / rms_N.square() / state_ND.shape[-1]
            by_state_ND.addcmul_(share_N[:, None], state_ND, value=-1)
        return by_weight_QD, by_state_ND, None, None
