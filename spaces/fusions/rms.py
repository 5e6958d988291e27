"""The root mean square by which fusions norm states, without a gain.

`mudd` and `attnres` divide a product by it, not the state, and compute it from a vector norm: one number a token is
kept for the backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

RMS_EPS = 1e-6
"""Added to a mean square before its root, as in MUDDFormer's release."""


def root_mean_square(x: Tensor) -> Tensor:
    """Returns the root mean square over the last axis, [..., 1], at least in float32."""
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    return (precise.square().mean(dim=-1, keepdim=True) + RMS_EPS).sqrt()
