"""Counts the operations of a pass, to be compared with closed forms.

A depth average is not a matrix product, so the counter counts its multiplications and multiply-adds as 2 an
output element, if it is given `DEPTH_AVERAGE`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def _two_an_element(*_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return 2 * math.prod(out_shape)


def _two_a_matrix_element(_: Any, matrix_shape: Sequence[int], *__: Any, **___: Any) -> int:
    return 2 * math.prod(matrix_shape)


DEPTH_AVERAGE: dict[Any, Any] = {
    torch.ops.aten.mul: _two_an_element,
    torch.ops.aten.addcmul: _two_an_element,
    torch.ops.aten.addcmul_: _two_an_element,
    torch.ops.aten.addmv_: _two_a_matrix_element,
}


@torch.no_grad()
def counted_flops(forward: Callable[[], object], custom_mapping: dict[Any, Any] | None = None) -> int:
    """Returns the operations of a call, without those of norms and activations."""
    # Norms are left out; on a CPU the counter sees the products that an rms norm is made of.
    norms = patch.object(F, "rms_norm", lambda x_BTD, *_: x_BTD)
    # The plain attention kernel is made of matrix products, which the counter knows; the CPU's fused one it does not.
    with FlopCounterMode(display=False, custom_mapping=custom_mapping) as counter, norms, sdpa_kernel(SDPBackend.MATH):
        forward()
    total: int = counter.get_total_flops()
    return total
