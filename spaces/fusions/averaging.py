"""The weighted sums of a family of sites, computed panel by panel, forward and backward (`panels.py`).

Axes: N elements of a state (B T D), S sources of the family, P sites of a panel, L sites of the family, R new states.

Forward: a panel's first site computes all of the panel's sums so far, [P, S] by [S, N]. Each later site adds the later
states to its own sum, in place.

Backward: the same from the end. The gradients of the sites' outputs are collected in a second store, [L, N]. One
product, [R, L] by [L, N], gives a panel's new states their gradient from all later sites. The weights' gradients are
one product a panel.

Backward needs the store of states (`state_store.py`). A state that a later block also reads continues as the store's
own row, so that nothing is kept twice. The nodes of a family's sites are linked by a chain, an empty tensor, so that
autograd visits them from the last to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthweave.spaces.fusions.panels import Family, Panel
from depthweave.spaces.fusions.state_store import Store, in_float32, rows_of


class FamilyPass:
    """One forward pass through the sites of a family, and its backward pass."""

    store_class: ClassVar[type[Store]] = Store
    """Holds states and gradients, and computes their sums."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._panel_of = [panel for panel in family.panels for _ in range(panel.size)]
        self.way_back = _WayBack(family, self._panel_of, self.store_class)
        self._place = 0
        """Place of the next site."""
        self._slot = 0
        """Slot of the next state."""
        self._new: list[Tensor] = []
        """Kept states that no site has read yet."""
        self._store: Store | None = None
        self._weights_LS: Tensor | None = None
        """The sites' weights, zero for states that a site does not read."""
        self._sums: list[Tensor] = []
        """Sums of the panel, [N] each; those of the first sites are complete."""
        self._chain = torch.empty(0)

    def keep(self, state_BTD: Tensor) -> Tensor:
        """Keeps the next of the family's sources, which no site of it follows; returns the tensor to continue with."""
        if torch.is_grad_enabled():
            kept_BTD: Tensor = _Kept.apply(self, state_BTD)
            self._new.append(kept_BTD)
            return kept_BTD
        return self.write(state_BTD)

    @property
    def opens_panel(self) -> bool:
        """Whether the next site is the first of its panel, which gets the weights of all its sites."""
        return self._panel_of[self._place].first == self._place

    @property
    def panel_sites(self) -> tuple[int, ...]:
        """Blocks of the next site's panel."""
        panel = self._panel_of[self._place]
        return self.family.sites[panel.first : panel.end]

    def advance(self, state_BTD: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Returns the next site's sum [B, T, D], given its own state.

        `weights` [S] are those of all the panel's sites if it is the first, else empty.
        """
        place, new = self._place, self._new
        self._new = []
        mixed_BTD: Tensor
        if torch.is_grad_enabled():
            mixed_BTD, self._chain = _SiteSum.apply(self, place, len(new), self._chain, *new, state_BTD, *weights)
        else:
            with in_float32(state_BTD.device):
                mixed_BTD = self.sum(place, state_BTD, weights)
        self._place += 1
        if self._place == len(self.family.sites):
            self._store = self._weights_LS = None
            self._sums = []
        return mixed_BTD

    def write(self, state_BTD: Tensor) -> Tensor:
        """Writes the next state into the store."""
        if self._store is None:
            self._store = self.store_class(len(self.family.sources), state_BTD)
            self._weights_LS = state_BTD.new_zeros(len(self.family.sites), len(self.family.sources))
        self._slot += 1
        # `data` has its own version counter: later writes to the store would otherwise invalidate saved tensors.
        return self._store.write(self._slot - 1, state_BTD).data

    def sum(self, place: int, state_BTD: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Computes one site; sites come in order."""
        self.write(state_BTD)
        assert self._store is not None
        assert self._weights_LS is not None
        counts, panel = self.family.counts, self._panel_of[place]
        end = counts[place]
        if place == panel.first:
            for row, weights_S in enumerate(weights, place):
                self._weights_LS[row, : len(weights_S)] = weights_S
            sums_PN = self._store.product(self._weights_LS[panel.first : panel.end, :end], 0)
            self._sums = [sums_PN.data[row] for row in range(panel.size)]
            return self._sums[0].view(state_BTD.shape)
        first = counts[panel.first]
        sum_N = self._sums[place - panel.first]
        self._store.add_to(sum_N, self._weights_LS[place, first:end], first)
        return sum_N.view(state_BTD.shape)

    def saved(self) -> tuple[Tensor, ...]:
        """Returns weights and shelves with their own version counters, because later sites still write."""
        assert self._store is not None
        assert self._weights_LS is not None
        return self._weights_LS.data, *(item.data for item in self._store.shelves)


@dataclass(slots=True)
class _WayBack:
    """What the sites of a pass share for its backward passes.

    Autograd's graph refers to it, so it refers to no tensor with a graph: such a cycle is never freed.
    """

    family: Family
    panel_of: Sequence[Panel]
    """By the place of a site."""
    store_class: type[Store]
    current: _BackwardPass | None = None


@dataclass(slots=True)
class _BackwardPass:
    """One backward pass, from the last site that the loss depends on."""

    last: int
    """Its place."""
    gradients: Store
    """Gradients of the sites' outputs, written from the last to the first."""
    lowest: int
    """Place of the last visited site."""
    new_RN: Tensor | None = None
    """Gradients of the panel's new states from the sites after the panel."""


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, family_pass: FamilyPass, state_BTD: Tensor) -> Tensor:
        return family_pass.write(state_BTD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BTD: Tensor) -> tuple[None, Tensor]:
        return None, gradient_BTD


class _SiteSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, family_pass: FamilyPass, place: int, num_kept: int, chain: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        state_BTD, weights = tensors[num_kept], tensors[num_kept + 1 :]
        with in_float32(state_BTD.device):
            mixed_BTD = family_pass.sum(place, state_BTD, weights)
        ctx.way_back, ctx.place, ctx.num_new = family_pass.way_back, place, num_kept + 1
        ctx.shape, ctx.weight_types = state_BTD.shape, [item.dtype for item in weights]
        ctx.save_for_backward(*family_pass.saved())
        return mixed_BTD, chain.new_empty(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BTD: Tensor, chain: Tensor) -> tuple[Any, ...]:
        way_back, place = ctx.way_back, ctx.place
        weights_LS, *shelves = ctx.saved_tensors
        counts, panel = way_back.family.counts, way_back.panel_of[place]
        current = way_back.current
        if current is None or current.lowest <= place:
            current = _BackwardPass(place, way_back.store_class(place + 1, gradient_BTD), place)
        current.gradients.write(place, gradient_BTD)
        current.lowest = place
        way_back.current = current if place else None
        end = min(panel.end, current.last + 1)
        start = counts[panel.first - 1] if panel.first else 0
        if place == end - 1:
            current.new_RN = None
            if end <= current.last:
                current.new_RN = current.gradients.product(
                    weights_LS[end : current.last + 1, start : counts[place]].t(), end
                )
        slots = slice(counts[place] - ctx.num_new, counts[place])
        onto_RN = None if current.new_RN is None else current.new_RN[slots.start - start : slots.stop - start]
        new_RN = current.gradients.product(weights_LS[place:end, slots].t(), place, onto_PN=onto_RN)
        by_weights: list[Tensor | None] = [None] * len(ctx.weight_types)
        if any(ctx.needs_input_grad[4 + ctx.num_new :]):
            states = rows_of(shelves, 0, counts[end - 1])
            ours = rows_of(current.gradients.shelves, place, end)
            table_PS = torch.cat([torch.cat([mine @ rows.t() for rows in states], dim=1) for mine in ours])
            for row, dtype in enumerate(ctx.weight_types[: end - place]):
                by_weights[row] = table_PS[row, : counts[place + row]].to(dtype)
        return (None, None, None, chain, *(row_N.view(ctx.shape) for row_N in new_RN), *by_weights)


class WeightedSum(torch.autograd.Function):
    """One site's weighted sum of its states [B, T, D], weights [S], for a site without a family: nothing is copied."""

    @staticmethod
    def forward(ctx: Any, weights_S: Tensor, *states: Tensor) -> Tensor:
        ctx.save_for_backward(weights_S, *states)
        # In place, a fifth faster than a loop that autograd can trace.
        first, *others = _pairs(weights_S, states)
        mixed_BTD = first[0] * first[1]
        for state, weight in others:
            mixed_BTD.addcmul_(state, weight)
        return mixed_BTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BTD: Tensor) -> tuple[Tensor | None, ...]:
        weights_S, *states = ctx.saved_tensors
        by_weights = None
        if ctx.needs_input_grad[0]:
            flat_N = gradient_BTD.reshape(-1)
            by_weights = torch.stack([torch.dot(flat_N, state.reshape(-1)) for state in states]).to(weights_S.dtype)
        return (by_weights, *(gradient_BTD * weight for _, weight in _pairs(weights_S, states)))


def weighted_sum(weights_S: Tensor, states: Sequence[Tensor]) -> Tensor:
    """Returns the same sum in a form that autograd and the compiler can trace; the compiler makes one kernel of it."""
    first, *others = _pairs(weights_S, states)
    mixed_BTD = first[0] * first[1]
    for state, weight in others:
        mixed_BTD = torch.addcmul(mixed_BTD, state, weight)
    return mixed_BTD


def _pairs(weights_S: Tensor, states: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    # unbind makes one backward node for all scalars of the site; indexing would make one a source.
    return list(zip(states, weights_S.to(states[-1].dtype).unbind(), strict=True))
