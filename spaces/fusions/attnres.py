"""Attention Residuals: every layer's input is a softmax over what the layers before it added, in place of the residual.

Axes: B batch, T tokens, D width, S sources of a read, Q queries.

Source: Kimi Team, "Attention Residuals", arXiv 2603.15031. v_0 is the embedding, v_i what layer i adds. Layer l reads

    h_l = sum_i softmax_i(w_l . rms(v_i)) v_i          over i < l, rms(v) = v / sqrt(mean(v^2) + eps)

Attention and feed-forward layers are layers of their own, each with a query w_l. The final norm reads the same way.
`attnres` is Block AttnRes: layers form segments, and a source is the sum over a whole segment. The sum of the layer's
own segment so far is one more source. A site ends a segment: the wiring of period p has segments of p blocks.
`attnres_full` is full AttnRes: every layer is a source of its own.
`attnres3`: query, key and value of an attention layer have a w and a norm each, as in transformers' Inkling2.

Start: w = 0, uniform weights, as in the paper. A fresh model is not the plain transformer: it reads means, not sums.
Scores are not scaled, as in the paper and in flash-linear-attention; Inkling2 scales them by 1 / sqrt(D). Adam moves w
by the same step for every scale, so another scale is another learning rate of w (`recipe.connection_lr_factor`).
Differs: the norm of the keys has no gain, because w times a gain is another w. Inkling2 also reads rms(v_i) as values;
here they are v_i, as in the paper. Sources have the type of the embedding, also under autocast.
Cost: one vector a read, and 4 D operations a token for each of its sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions.depth_queries import DepthQueries
from depthweave.spaces.fusions.dynamic_sum import dynamic_sums
from depthweave.spaces.fusions.fusion import BlockInputs, Fusion, Observe, Reader
from depthweave.spaces.wiring import Site, Wiring, strided_wiring


class AttentionResiduals(Fusion):
    """One query [D] a read, in the order of the layers (`queries.weight`, [Q, D])."""

    paper: ClassVar[str] = "Attention Residuals, arXiv 2603.15031"
    summary: ClassVar[str] = "softmax over the sums of earlier segments, in place of the residual (Block AttnRes)"
    starts_as_identity: ClassVar[bool] = False
    carries_residual: ClassVar[bool] = True
    ways: ClassVar[int] = 1
    """Queries of an attention layer."""
    by_layer: ClassVar[bool] = False
    """Whether every layer is a source of its own, not every segment."""

    def __init__(self, wiring: Wiring, width: int) -> None:
        super().__init__(wiring, width)
        if wiring.sites:
            self.queries = DepthQueries(_num_queries(wiring.depth, self.ways), width)

    def open(self, *, observe: Observe | None = None) -> Reader:
        return _ResidualReader(self, observe)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        for query in self.parameters():
            query.zero_()

    def connection_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        if not wiring.sites:
            return wiring
        # The last segment ends with the model, whether a site says so or not.
        return _segments(wiring.depth, tuple(sorted({wiring.depth, *(site.block for site in wiring)})))

    @classmethod
    def num_parameters(cls, wiring: Wiring, width: int) -> int:
        if not wiring.sites:
            return 0
        norms = sum(len(cls.own_norms(wiring, block)) for block in range(1, wiring.depth + 1))
        return (_num_queries(wiring.depth, cls.ways) + norms) * width

    @classmethod
    def forward_flops(cls, wiring: Wiring, width: int) -> int:
        return 4 * width * sum(cls._source_counts(wiring)) if wiring.sites else 0

    @classmethod
    def _source_counts(cls, wiring: Wiring) -> Iterator[int]:
        """Yields the number of sources of each read."""
        ends = {site.block for site in wiring}
        whole = 1
        for block in range(1, wiring.depth + 1):
            yield whole + 1
            whole += block in ends
            last = block == wiring.depth
            yield (1 if last else cls.ways) * (whole + (block not in ends))


class FullAttentionResiduals(AttentionResiduals):
    """Every layer is a source. It has one wiring: a site after every block, which reads all."""

    summary: ClassVar[str] = "softmax over what every earlier layer added, in place of the residual (full AttnRes)"
    by_layer: ClassVar[bool] = True

    @classmethod
    def canonical_wiring(cls, wiring: Wiring) -> Wiring:
        return strided_wiring(wiring.depth) if wiring.sites else wiring

    @classmethod
    def kept_states(cls, wiring: Wiring) -> int:
        return 2 * wiring.depth + 1 if wiring.sites else 1

    @classmethod
    def _source_counts(cls, wiring: Wiring) -> Iterator[int]:
        return iter(range(2, 2 * wiring.depth + 2))


class ThreeWayAttentionResiduals(AttentionResiduals):
    """The queries, keys and values of each block's attention read their own sums; nothing else carries the residual."""

    paper: ClassVar[str] = "Attention Residuals, arXiv 2603.15031; three queries as in transformers' Inkling2"
    summary: ClassVar[str] = "Block AttnRes whose attention reads query, key and value with a softmax each"
    ways: ClassVar[int] = 3

    @classmethod
    def own_norms(cls, wiring: Wiring, block: int) -> tuple[str, ...]:
        # The first block reads only the embedding.
        return ("key", "value") if block > 1 and wiring.sites else ()


class _Source(NamedTuple):
    """A state that layers read."""

    state_BTD: Tensor
    scores: tuple[Tensor, ...]
    """[B, T] each, of the reads from query `first` on."""
    first: int


class _ResidualReader:
    def __init__(self, fusion: AttentionResiduals, observe: Observe | None) -> None:
        self._fusion, self._observe = fusion, observe
        self._ends = {site.block for site in fusion.wiring}
        self._kept: list[_Source] = []
        self._sum_BTD: Tensor | None = None
        """What the layers of the open segment have added."""
        self._query = 0
        """Number of the next query."""
        self._like = torch.empty(0)
        """An empty tensor of the device and type of the embedding, which all sources have."""

    def between(self, block: int, attended_BTD: Tensor) -> Tensor:
        self._add(attended_BTD)
        ((mixed_BTD, _),) = self._read(1)
        return mixed_BTD

    def advance(self, block: int, state_BTD: Tensor) -> Tensor | BlockInputs:
        if not block:
            self._like, self._sum_BTD = state_BTD.new_empty(0), state_BTD
            self._close()
            return state_BTD
        self._add(state_BTD)
        if block in self._ends:
            self._close()
        last = block == self._fusion.wiring.depth
        reads = self._read(1 if last else self._fusion.ways)
        if self._observe is not None and block in self._ends:
            self._observe(block, self._by_block(torch.stack([weights for _, weights in reads]).mean(dim=0)))
        if last:
            self._kept, self._sum_BTD = [], None
        mixed = [mixed_BTD for mixed_BTD, _ in reads]
        # A block adds to nothing, so its residual is not read.
        return mixed[0] if len(mixed) == 1 else BlockInputs(mixed[0], *mixed)

    def _add(self, added_BTD: Tensor) -> None:
        added_BTD = added_BTD.to(self._like)
        self._sum_BTD = added_BTD if self._sum_BTD is None else self._sum_BTD + added_BTD
        if self._fusion.by_layer:
            self._close()

    def _close(self) -> None:
        """Ends the segment: its sum is a source of all later reads."""
        if self._sum_BTD is not None:
            self._kept.append(self._source(self._sum_BTD, None))
            self._sum_BTD = None

    def _source(self, state_BTD: Tensor, end: int | None) -> _Source:
        return _Source(state_BTD, self._fusion.queries(state_BTD, self._query, end), self._query)

    def _read(self, ways: int) -> list[tuple[Tensor, Tensor]]:
        """Returns the sums [B, T, D] of the next queries over all sources, and their weights [S, B, T]."""
        first, end = self._query, self._query + ways
        open_segment = [] if self._sum_BTD is None else [self._source(self._sum_BTD, end)]
        sources = [*self._kept, *open_segment]
        self._query = end
        states = [source.state_BTD for source in sources]
        found = []
        for query in range(first, end):
            scores_SBT = torch.stack([source.scores[query - source.first] for source in sources])
            weights_SBT = torch.softmax(scores_SBT, dim=0)
            (mixed_BTD,) = dynamic_sums(weights_SBT.movedim(0, -1).unsqueeze(-2), states)
            found.append((mixed_BTD, weights_SBT))
        return found

    def _by_block(self, weights_SBT: Tensor) -> Tensor:
        """Returns [B, T, S] for the sources that the wiring names; the layers of a block together."""
        if self._fusion.by_layer:
            weights_SBT = torch.cat([weights_SBT[:1], weights_SBT[1::2] + weights_SBT[2::2]])
        return weights_SBT.movedim(0, -1)


def _num_queries(depth: int, ways: int) -> int:
    """Returns the number of queries: one a feed-forward layer, `ways` an attention layer, and one of the final norm.

    The first attention layer has none, because it has one source.
    """
    return depth + (depth - 1) * ways + 1


@lru_cache(maxsize=2**12)
def _segments(depth: int, ends: tuple[int, ...]) -> Wiring:
    """Returns the wiring in which a site after each of `ends` reads the embedding and all ends up to it."""
    return Wiring(depth, tuple(Site(end, (0, *ends[: place + 1])) for place, end in enumerate(ends)))
