"""The weighted sums of a deep family of sites in a form that the compiler can trace: one matrix product a panel.

One kernel a site works well for 24 blocks. For 48 it is a graph of over a thousand multiplications, and the code
generator does not finish. So the states of each panel are stacked once, and the next panel's sums so far are products
with these stacks. Only later states are added one by one (`panels.py`). A site's own state is always added this way: in
a product a GPU may round it to the 10 bits of TF32, and a fresh model would not be exactly the plain transformer.

Axes: N elements of a state (B T D), P sites of a panel, R states of a layer, S sources of a site.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from depthweave.spaces.fusions.panels import Family

MIN_CONNECTIONS = 400
"""Families with at least this many connections are traced this way; 24 blocks of 1x1 have 324."""


class TracedPass:
    """One forward pass through the sites of a family; autograd and the compiler derive the backward pass."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._layers: list[Tensor] = []
        """States [R, N] that existed when a panel was opened, without that of its first site."""
        self._new: list[Tensor] = []
        """Later states."""
        self._sums: list[tuple[Tensor, Tensor]] = []
        """For the panel's later sites: the sum so far [N], and the site's weights."""
        self._place = 0

    def keep(self, state_BTD: Tensor) -> Tensor:
        """Keeps the next of the family's sources, which no site of the family follows."""
        self._new.append(state_BTD)
        return state_BTD

    @property
    def opens_panel(self) -> bool:
        """Whether the next site is the first of its panel, which gets the weights of all its sites."""
        return not self._sums

    @property
    def panel_sites(self) -> tuple[int, ...]:
        """Blocks of the panel that the next site opens."""
        panel = next(item for item in self.family.panels if item.first == self._place)
        return self.family.sites[panel.first : panel.end]

    def advance(self, state_BTD: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Returns the next site's sum [B, T, D], given its own state.

        `weights` [S] are those of all the panel's sites if it is the first, else empty.
        """
        self._new.append(state_BTD)
        if weights:
            self._open(weights)
        (sum_N, weights_S), *self._sums = self._sums
        self._place += 1
        mixed_BTD = sum_N.view(state_BTD.shape)
        since_S = weights_S[len(weights_S) - len(self._new) :].unbind()
        for weight, new_BTD in zip(since_S, self._new, strict=True):
            mixed_BTD = torch.addcmul(mixed_BTD, new_BTD, weight)
        return mixed_BTD

    def _open(self, weights: Sequence[Tensor]) -> None:
        own = self._new.pop()
        layer_RN = torch.stack(self._new).flatten(1)
        self._layers.append(layer_RN)
        self._new = [own]
        count = self.family.counts[self._place] - 1
        weights = [item.to(layer_RN.dtype) for item in weights]
        table_PS = torch.stack([item[:count] for item in weights])
        # Without the lower precision of autocast, like the sums one by one.
        with torch.autocast(layer_RN.device.type, enabled=False):
            parts = table_PS.split([len(item) for item in self._layers], dim=1)
            sums_PN = parts[0] @ self._layers[0]
            for part_PR, rows_RN in zip(parts[1:], self._layers[1:], strict=True):
                sums_PN = torch.addmm(sums_PN, part_PR, rows_RN)
        self._sums = list(zip(sums_PN.unbind(), weights, strict=True))
