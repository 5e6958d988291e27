"""Stacked states in one place, and weighted sums of them as matrix products.

Axes: N elements of a state (B T D), S states, P sums, R rows of a shelf, C columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

_SHELF_BYTES = 16 * 2**20
"""On a CPU. The C library returns blocks of over 32 MiB to the system as soon as they are free. Faulting in their
pages again at every pass took as long as all the sums."""
_BLOCK = 2**14
"""Columns of a product over several shelves that are computed at once: the sums stay in the processor's cache."""


class Store:
    """Stacked states, [S, N], on shelves of some rows each."""

    def __init__(self, num_states: int, like: Tensor) -> None:
        most = num_states
        if like.device.type == "cpu":
            most = max(1, _SHELF_BYTES // (like.numel() * like.element_size()))
        self.num_rows = min(most, num_states)
        """Rows of a shelf; the last one may have fewer."""
        starts = range(0, num_states, self.num_rows)
        self.shelves = [like.new_empty(min(most, num_states - start), like.numel()) for start in starts]

    def row(self, slot: int) -> Tensor:
        """Returns a state's row, [N]."""
        return self.shelves[slot // self.num_rows][slot % self.num_rows]

    def write(self, slot: int, state_BTD: Tensor) -> Tensor:
        """Writes the state into a slot and returns the slot in the state's shape."""
        place_BTD = self.row(slot).view(state_BTD.shape)
        place_BTD.copy_(state_BTD)
        return place_BTD

    def product(self, weights_PS: Tensor, first: int, *, onto_PN: Tensor | None = None) -> Tensor:
        """Returns weighted sums [P, N] of the states from slot `first` on, added in place to `onto_PN` if given."""
        parts = self._parts(weights_PS, first)
        size = self.shelves[0].shape[1]
        sums_PN = self.shelves[0].new_empty(len(weights_PS), size) if onto_PN is None else onto_PN
        step = size if len(parts) == 1 else _BLOCK
        for start in range(0, size, step):
            columns = slice(start, start + step)
            out_PC = sums_PN[:, columns]
            for place, (part_PR, rows_RN) in enumerate(parts):
                if place or onto_PN is not None:
                    out_PC.addmm_(part_PR, rows_RN[:, columns])
                else:
                    torch.mm(part_PR, rows_RN[:, columns], out=out_PC)
        return sums_PN

    def add_to(self, sum_N: Tensor, weights_S: Tensor, first: int) -> None:
        """Adds the weighted sum of the states from slot `first` on, in place."""
        for part_PR, rows_RN in self._parts(weights_S[None], first):
            sum_N.addmv_(rows_RN.t(), part_PR[0])

    def _parts(self, weights_PS: Tensor, first: int) -> list[tuple[Tensor, Tensor]]:
        """Returns the rows from slot `first` on, shelf by shelf, each with its weights."""
        rows = rows_of(self.shelves, first, first + weights_PS.shape[1])
        return list(zip(weights_PS.split([len(item) for item in rows], dim=1), rows, strict=True))


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """Disables TF32 for float32 products on CUDA, whose 10 bits would round the states."""
    before = torch.get_float32_matmul_precision() if device.type == "cuda" else "highest"
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def rows_of(shelves: Sequence[Tensor], first: int, end: int) -> list[Tensor]:
    """Returns the rows from `first` to before `end`, shelf by shelf."""
    found, start = [], 0
    for shelf_RN in shelves:
        low, high = max(first - start, 0), min(end - start, len(shelf_RN))
        if low < high:
            found.append(shelf_RN[low:high])
        start += len(shelf_RN)
    return found
