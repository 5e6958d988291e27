"""The interface of every fusion: a module with the weights of all sites, which opens a reader for each forward pass.

Axes: B batch, T tokens, D width, S sources of a site, H heads, K head width.

Weights live in the module, states in the reader: no state outlives a forward pass, so a fusion is re-entrant,
works under activation checkpointing, and one token of cached decoding is the same call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from depthweave.spaces.wiring import Wiring

Observe = Callable[[int, Tensor], None]
"""Called with a site's block and its connection weights [..., S], in the order of the site's sources."""


class BlockInputs(NamedTuple):
    """Several inputs of one block, [B, T, D] each."""

    residual_BTD: Tensor
    """What the block adds its layers' outputs to; ignored if the fusion carries the residual."""
    query_BTD: Tensor
    key_BTD: Tensor
    """Counts only if `Fusion.own_norms` names `key`. Otherwise keys are computed from the query's normed input."""
    value_BTD: Tensor
    """The same for `value`."""
    first_value_BHTK: Tensor | None = None
    """Values of an earlier block's attention. The block's own values v become v + share (first - v)."""
    value_share: Tensor | None = None
    """The share, a scalar [] that is trained; given together with `first_value_BHTK`."""


class Reader(Protocol):
    """One forward pass through a fusion."""

    def advance(self, block: int, state_BTD: Tensor) -> Tensor | BlockInputs:
        """Returns the input of the block after `block`, given its output. Called for blocks 0, 1, ... depth.

        States and inputs are [B, T, D]. The output of block 0 is the embedding. The result for the last block is one
        tensor, which goes to the final norm. If the fusion carries the residual, `state_BTD` of blocks 1, 2, ... is
        only what the feed-forward layers add.
        """


class Carrier(Reader, Protocol):
    """The reader of a fusion that carries the residual itself (`Fusion.carries_residual`)."""

    def between(self, block: int, attended_BTD: Tensor) -> Tensor:
        """Returns the input [B, T, D] of the block's feed-forward layers, given what its attention adds.

        Called after the attention of each block and before its feed-forward layers.
        """


class ValueReader(Reader, Protocol):
    """The reader of a fusion that holds the values of a block's attention (`Fusion.value_source`)."""

    def keep_value(self, value_BHTK: Tensor) -> None:
        """Keeps the values of block `value_source`. Called once, just before `advance` of that block."""


class Fusion(nn.Module, ABC):
    """The weights of all sites of one wiring."""

    paper: ClassVar[str]
    """Authors' title and arXiv id; empty if there is none."""
    summary: ClassVar[str]
    """One line: how a site combines its sources."""
    starts_as_identity: ClassVar[bool] = True
    """Whether a fresh model computes exactly what the plain transformer does."""
    carries_residual: ClassVar[bool] = False
    """Whether its reader is a `Carrier`: blocks have no residual, and the reader gets what each layer adds."""
    value_source: ClassVar[int] = 0
    """The block whose attention values its reader, a `ValueReader`, gets; 0 if none."""

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__()
        self.wiring = wiring
        self.width = width
        # Computed now: the lock of a cached property would break the compiler's graph at the first pass.
        _ = wiring.last_reads

    @abstractmethod
    def open(self, *, observe: Observe | None = None) -> Reader:
        """Returns a reader for one pass; `observe` sees the weights of every site."""

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draws the start, the identity if `starts_as_identity`. Called after any model-wide initialisation."""

    @abstractmethod
    def connection_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters that weigh whole states. They have no decay and their own learning-rate factor."""

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        """Returns the wiring without the sites that compute nothing new for this fusion."""
        return wiring

    @classmethod
    def own_norms(cls, wiring: Wiring, block: int) -> tuple[str, ...]:
        """Returns which inputs of a block, among `key` and `value`, have a norm of their own."""
        return ()

    @classmethod
    def kept_states(cls, wiring: Wiring) -> int:
        """Returns the most states that a forward pass holds at once for later layers, the newest included."""
        return wiring.max_kept_states

    @classmethod
    @abstractmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        """Returns the number of parameters that it adds to the plain transformer, in closed form, with `own_norms`."""

    @classmethod
    @abstractmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        """Returns the operations a token, in closed form: 2 a multiply-add of a matrix product or a depth average."""


class KeptStates:
    """The states of one pass that a later site still reads; others are dropped as soon as possible."""

    def __init__(self, wiring: Wiring) -> None:
        self._last_reads = wiring.last_reads
        self._sources = dict(wiring.sites)
        self._states: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._states)

    def sources_of(self, block: int) -> tuple[int, ...]:
        """Returns the sources of the site after `block`; empty if there is none."""
        return self._sources.get(block, ())

    def take(self, block: int, state_BTD: Tensor) -> list[Tensor]:
        """Keeps the state of `block`, returns the states that its site reads, and drops those not read later."""
        self._states[block] = state_BTD
        states = [self._states[source] for source in self.sources_of(block)]
        for kept in [kept for kept in self._states if self._last_reads[kept] <= block]:
            del self._states[kept]
        return states
