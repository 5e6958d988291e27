"""Rotary positions: queries and keys are rotated by angles that grow with the position.

Axes: B batch, T tokens, H heads, K head width.

Source: Su et al., RoFormer, arXiv 2104.09864; halves are paired (feature i with i + K / 2), as in GPT-NeoX.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_BASE = 10_000.0


def rotary_table(context: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Returns cosines and sines [T, K / 2] of the angles."""
    frequencies_K = _BASE ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angles_TK = torch.outer(torch.arange(context, dtype=torch.float64), frequencies_K)
    return angles_TK.cos().float(), angles_TK.sin().float()


class RotaryTable(nn.Module):
    """The table of a context. It is not saved with the weights; loading computes it again."""

    cos_TK: Tensor
    sin_TK: Tensor

    def __init__(self, context: int, head_width: int) -> None:
        super().__init__()
        cos_TK, sin_TK = rotary_table(context, head_width)
        self.register_buffer("cos_TK", cos_TK, persistent=False)
        self.register_buffer("sin_TK", sin_TK, persistent=False)

    def forward(self, positions: slice | Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns the angles of a range of positions [T, K / 2], or of positions `[B, T]` as [B, 1, T, K / 2]."""
        cos, sin = self.cos_TK[positions].to(device), self.sin_TK[positions].to(device)
        return (cos, sin) if isinstance(positions, slice) else (cos[:, None], sin[:, None])


def rotate(x_BHTK: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates each position by its angles [..., T, K / 2]; reduced precision is rotated in float32."""
    cos_TK, sin_TK = rotary
    # The compiler fuses the plain formula.
    if torch.compiler.is_compiling() or x_BHTK.dtype not in (torch.float32, torch.float64):
        first, second = x_BHTK.chunk(2, dim=-1)
        rotated = torch.cat((first * cos_TK - second * sin_TK, first * sin_TK + second * cos_TK), dim=-1)
        return rotated.to(x_BHTK.dtype)
    rotated_BHTK: Tensor = _Rotation.apply(x_BHTK, cos_TK, sin_TK)
    return rotated_BHTK


class _Rotation(torch.autograd.Function):
    """Writes in place and rotates gradients by the opposite angle: a third of autograd's time, and x is not kept."""

    @staticmethod
    def forward(ctx: Any, x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        ctx.save_for_backward(cos_TK, sin_TK)
        return _rotated(x_BHTK, cos_TK, sin_TK, sign=1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BHTK: Tensor) -> tuple[Tensor, None, None]:
        return _rotated(gradient_BHTK, *ctx.saved_tensors, sign=-1.0), None, None


def _rotated(x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor, *, sign: float) -> Tensor:
    rotated_BHTK = torch.empty_like(x_BHTK)
    first, second = x_BHTK.chunk(2, dim=-1)
    to_first, to_second = rotated_BHTK.chunk(2, dim=-1)
    torch.mul(first, cos_TK, out=to_first).addcmul_(second, sin_TK, value=-sign)
    torch.mul(second, cos_TK, out=to_second).addcmul_(first, sin_TK, value=sign)
    return rotated_BHTK
