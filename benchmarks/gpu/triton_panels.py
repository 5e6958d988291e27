"""The panels of depth averages by a Triton kernel: a contender, which the package adopts only if it wins.

Axes: N elements of a state (B T D), S states, P sums, C columns of a program.

A program reads its columns of each state once and adds them to all sums of the panel, in float32. A general matrix
product also reads them once, but is made for larger matrices than [8, 25] by [25, N].
Only the store's two products are replaced (`depthweave.spaces.fusions.averaging`); forward and backward need no more.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor

from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import Observe
from depthweave.spaces.fusions.averaging import FamilyPass
from depthweave.spaces.fusions.dwa import AveragingReader, DepthWeightedAverage
from depthweave.spaces.fusions.fusion import Reader
from depthweave.spaces.fusions.state_store import Store, in_float32

_COLUMNS = 1024
_WARPS = 4


def has_triton() -> bool:
    """Whether Triton can be imported; torch brings it with CUDA."""
    return find_spec("triton") is not None


def triton_panels(model: Decoder) -> None:
    """The kernel in the place of the products of a model's depth averages."""
    model.fusion.__class__ = _TritonAverage


class TritonStore(Store):
    """A store of one shelf whose products are the kernel's."""

    def product(self, weights_PS: Tensor, first: int, *, onto_PN: Tensor | None = None) -> Tensor:
        (shelf_RN,) = self.shelves
        states_SN = shelf_RN[first : first + weights_PS.shape[1]]
        sums_PN = onto_PN if onto_PN is not None else shelf_RN.new_empty(len(weights_PS), shelf_RN.shape[1])
        _add_product(weights_PS, states_SN, sums_PN, onto=onto_PN is not None)
        return sums_PN

    def add_to(self, sum_N: Tensor, weights_S: Tensor, first: int) -> None:
        (shelf_RN,) = self.shelves
        _add_product(weights_S[None], shelf_RN[first : first + len(weights_S)], sum_N[None], onto=True)


class _TritonPass(FamilyPass):
    store_class: ClassVar[type[Store]] = TritonStore


class _TritonAverage(DepthWeightedAverage):
    def open(self, *, observe: Observe | None = None) -> Reader:
        return AveragingReader(self, [_TritonPass(family) for family in self._families], self._alone, observe)


def _add_product(weights_PS: Tensor, states_SN: Tensor, sums_PN: Tensor, *, onto: bool) -> None:
    # Only where there is Triton.
    from benchmarks.gpu.triton_kernel import add_product

    num_sums, size = sums_PN.shape
    add_product[(-(-size // _COLUMNS),)](
        weights_PS,
        states_SN,
        sums_PN,
        len(states_SN),
        size,
        weights_PS.stride(0),
        weights_PS.stride(1),
        states_SN.stride(0),
        sums_PN.stride(0),
        num_sums,
        ROWS=1 << (num_sums - 1).bit_length(),
        COLUMNS=_COLUMNS,
        ONTO=onto,
        num_warps=_WARPS,
    )


def agrees(device: torch.device) -> float:
    """Largest difference of the kernel to the package's products, relative to their size."""
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for num_sums, num_states, size in ((1, 1, 7), (3, 5, 1500), (8, 25, 4096), (7, 49, 3000)):
        like = torch.empty(size, device=device)
        ours, theirs = Store(num_states, like), TritonStore(num_states, like)
        for slot in range(num_states):
            state_N = torch.randn(size, generator=generator).to(device)
            ours.write(slot, state_N)
            theirs.write(slot, state_N)
        weights_PS = torch.randn(num_states, num_sums, generator=generator).to(device).t()
        onto_PN = torch.randn(num_sums, size, generator=generator).to(device)
        # As a forward pass asks for them: TF32 may be allowed by now, and is off by a thousandth.
        with in_float32(device):
            pairs = [
                (store.product(weights_PS, 0), store.product(weights_PS[:, 1:], 1, onto_PN=onto_PN.clone()))
                for store in (ours, theirs)
            ]
        for mine, other in zip(*pairs, strict=True):
            worst = max(worst, float((mine - other).abs().max() / mine.abs().max()))
    return worst
