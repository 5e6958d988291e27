"""Encodes architectures of any wiring for a kernel, without a dilation and a period.

Beside fusion and sizes a row sees sites and sources: the share of possible connections in the cells of a coarse and of
a finer grid, where the sites and the read states are, how far back sites read, and how much they read the embedding.
The scales follow from the enumerated space, so that a row does not depend on the other candidates.

Axes: N candidates, F feature columns, H cost features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from depthweave.search.surrogate.candidates import FloatArray, Indices
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import Candidate
from depthweave.spaces.wiring import Wiring

_COARSE, _FINE = 3, 6
"""Parts that the two grids divide the depth into, for sites and for sources."""
NUM_SIZES = 4
"""Columns of sizes, after those of the fusions: depth, budget, feed-forward ratio, connections."""


class GraphEncoder:
    """Encodes candidates of one search; the same candidate always gives the same row."""

    def __init__(self, items: Sequence[Candidate], *, fusions: Sequence[str], any_depth: bool = False) -> None:
        """`items` set the scales; `fusions` are all that may occur, `none` too.

        `any_depth`: only what architectures of other depths and budgets can be compared in. Connections then count as
        a share of the possible ones. There is no fine grid, because few blocks leave cells empty that more blocks fill.
        There is no feed-forward ratio either: what a fusion leaves of it depends on the budget.
        """
        self._fusions, self._any_depth = tuple(fusions), any_depth
        sizes_NS = self._log_sizes(items)
        self._mean_S, self._sd_S = sizes_NS.mean(axis=0), sizes_NS.std(axis=0)
        # A size that all of them share sets no scale.
        self._sd_S[self._sd_S == 0.0] = 1.0
        wiring_groups = _wiring_groups(Wiring(1), any_depth=any_depth)
        widths = [len(self._fusions), *(1 for _ in self._mean_S), *(len(item) for item in wiring_groups)]
        self.groups_F: Indices = np.repeat(np.arange(len(widths)), widths).astype(np.intp)

    def features(self, items: Sequence[Candidate]) -> FloatArray:
        """Returns the feature rows `[N, F]`."""
        if not items:
            return np.empty((0, len(self.groups_F)))
        fusions = [[item.architecture.fusion == name for name in self._fusions] for item in items]
        # With sqrt(0.5), two different fusions have a squared distance of 1.
        one_hot = np.array(fusions, dtype=np.float64) * np.sqrt(0.5)
        sizes = (self._log_sizes(items) - self._mean_S) / self._sd_S
        # Architectures with the same wiring share one object.
        known = {id(item.architecture.wiring): item.architecture.wiring for item in items}
        rows = {key: np.concatenate(_wiring_groups(wiring, any_depth=self._any_depth)) for key, wiring in known.items()}
        return np.hstack([one_hot, sizes, np.stack([rows[id(item.architecture.wiring)] for item in items])])

    def _log_sizes(self, items: Sequence[Candidate]) -> FloatArray:
        sizes_NS = np.array([_sizes(item) for item in items], dtype=np.float64)
        if self._any_depth:
            depth_N = sizes_NS[:, 0]
            sizes_NS[:, 2] = 1.0
            sizes_NS[:, 3] /= 1.0 + depth_N * (depth_N + 1.0) / 2.0
        return np.asarray(np.log(sizes_NS))

    def cost_features(self, items: Sequence[Candidate]) -> FloatArray:
        """Returns operations, parameters, blocks, and for each fusion its sites, connections and states, `[N, H]`."""
        fusions = [name for name in self._fusions if name != "none"]
        rows = np.zeros((len(items), 5 + 3 * len(fusions)))
        for row, item in zip(rows, items, strict=True):
            built, known = item.architecture, costs_of(item.architecture)
            row[:5] = [
                known.forward_flops,
                known.parameters,
                built.depth,
                built.depth * built.width,
                built.depth * built.feed_forward,
            ]
            if built.fusion != "none":
                start = 5 + 3 * fusions.index(built.fusion)
                counts = [len(built.wiring.sites), built.wiring.num_connections, known.kept_states]
                row[start : start + 3] = np.array(counts) * built.width
        return rows


def _sizes(item: Candidate) -> tuple[float, ...]:
    built = item.architecture
    return built.depth, item.budget, built.feed_forward / built.width, 1 + built.wiring.num_connections


def _wiring_groups(wiring: Wiring, *, any_depth: bool) -> list[FloatArray]:
    """Returns the columns that describe a wiring, one array for each group."""
    depth, sites = wiring.depth, len(wiring.sites)
    coarse, fine = np.zeros((_COARSE, _COARSE)), np.zeros((_FINE, _FINE))
    spans, embedding, reads = 0.0, 0, 0
    for block, sources in wiring:
        others = np.array(sources[:-1], dtype=np.int64)
        for grid, read in ((coarse, np.array(sources)), (fine, others)):
            parts = len(grid)
            columns = read * parts // (depth + 1)
            grid[(block - 1) * parts // depth] += np.bincount(columns, minlength=parts)
        spans += float((block - others).sum())
        embedding += bool(len(others) and others[0] == 0)
        reads += len(others)
    shares_coarse = np.sqrt(coarse / np.maximum(_possible(depth, _COARSE, own=True), 1.0))
    shares_fine = np.sqrt(fine / np.maximum(_possible(depth, _FINE, own=False), 1.0))
    blocks_F = np.bincount(np.arange(depth) * _FINE // depth, minlength=_FINE)
    parts_S = np.array([site.block - 1 for site in wiring], dtype=np.int64) * _FINE // depth
    at_F = np.bincount(parts_S, minlength=_FINE)
    fine_groups = [
        shares_fine.ravel(),
        # Where the sites are, and which states are read.
        np.sqrt(at_F / np.maximum(blocks_F, 1)),
        np.sqrt(fine.sum(axis=0) / max(1, reads)),
    ]
    return [
        shares_coarse.ravel(),
        *([] if any_depth else fine_groups),
        # How far back a connection reads, the share of sites that read the embedding, and the share of blocks with one.
        np.array([2.0 * spans / (max(1, reads) * depth)]),
        np.array([embedding / max(1, sites)]),
        np.array([sites / depth]),
    ]


@lru_cache(maxsize=1024)
def _possible(depth: int, parts: int, *, own: bool) -> FloatArray:
    """Returns the number of possible connections in each cell, with or without those of a site to its own block."""
    possible = np.zeros((parts, parts))
    for block in range(1, depth + 1):
        columns = np.arange(block + own) * parts // (depth + 1)
        possible[(block - 1) * parts // depth] += np.bincount(columns, minlength=parts)
    return possible
