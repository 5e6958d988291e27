"""Final losses of other runs, as a search may learn from them.

Axes: S architectures of a source, N architectures to predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthweave.search.surrogate.candidates import FloatArray
from depthweave.spaces.architecture import Architecture


@dataclass(frozen=True, kw_only=True)
class SourceLosses:
    """Final losses of another run, as a search may learn from them."""

    name: str
    architectures: tuple[Architecture, ...]
    losses_S: FloatArray
    """nat/token of complete records, mean over the seeds of an architecture."""


def source_predictions(sources: Sequence[SourceLosses], architectures: Sequence[Architecture]) -> list[FloatArray]:
    """Returns the final losses `[N]` that each source predicts of these architectures, nat/token."""
    return [_predictions(item, architectures) for item in sources]


def _predictions(source: SourceLosses, architectures: Sequence[Architecture]) -> FloatArray:
    by_fusion: dict[str, list[float]] = {}
    for item, loss in zip(source.architectures, source.losses_S.tolist(), strict=True):
        by_fusion.setdefault(item.fusion, []).append(loss)
    means = {name: float(np.mean(losses)) for name, losses in by_fusion.items()}
    other = float(source.losses_S.mean()) if len(source.losses_S) else 0.0
    return np.array([means.get(item.fusion, other) for item in architectures])
