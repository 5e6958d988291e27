"""What other runs say of a search's losses: a model of each run's final losses, asked about the search's candidates.

A source is another run: other sizes, another text, another recipe. Its losses are not those of the search, but what
helps there often helps here. Each source gets a Gaussian process of its own over fusion, sizes and wiring. Sites and
sources of a wiring are encoded as shares of the depth, so that a pattern matches itself at another depth. Sizes beyond
those of the source count as its nearest one: a source says nothing of sizes that it lacks.

How far the search believes a source is decided from its own trials (`source_prior.py`).

Axes: S records of a source, N architectures, K sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthweave.search.surrogate.candidates import FloatArray
from depthweave.search.surrogate.gaussian_process import GaussianProcess
from depthweave.search.surrogate.graph_features import NUM_SIZES, GraphEncoder
from depthweave.search.surrogate.loss_scale import LossScale
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import Candidate

MIN_RECORDS = 4
"""Fewer records of a source say nothing about the order of architectures."""
_MAX_RECORDS = 512
"""Maximum number of records of a source that are used, evenly chosen by their losses: the time is cubic in it."""


@dataclass(frozen=True, kw_only=True)
class SourceLosses:
    """Final losses of another run, as a search may learn from them."""

    name: str
    architectures: tuple[Architecture, ...]
    losses_S: FloatArray
    """nat/token of complete records, mean over the seeds of an architecture."""

    def __post_init__(self) -> None:
        if self.losses_S.shape != (len(self.architectures),):
            raise ValueError(
                f"source {self.name}: {len(self.architectures)} architectures and losses of shape "
                f"{self.losses_S.shape}: give one loss for each"
            )
        if not np.isfinite(self.losses_S).all():
            raise ValueError(f"source {self.name}: a loss is not finite: leave its record out")


class SourceModels:
    """The models of all sources of a search, fitted once."""

    def __init__(self, sources: Sequence[SourceLosses]) -> None:
        self._models = [_SourceModel(item) for item in sources]

    def log_losses(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Returns the logarithm of the final loss that each source predicts, `[N, K]`."""
        if not self._models or not architectures:
            return np.empty((len(architectures), len(self._models)))
        return np.stack([item.log_losses(architectures) for item in self._models], axis=1)


def source_predictions(sources: Sequence[SourceLosses], architectures: Sequence[Architecture]) -> list[FloatArray]:
    """Returns the final losses `[N]` that each source predicts of these architectures, nat/token."""
    return list(np.exp(SourceModels(sources).log_losses(architectures)).T)


class _SourceModel:
    """The final losses of one source, as a function of the architecture."""

    def __init__(self, source: SourceLosses) -> None:
        kept = _evenly_by_loss(source.losses_S)
        architectures, losses_S = [source.architectures[place] for place in kept], source.losses_S[kept]
        self._process: GaussianProcess | None = None
        if len(kept) < MIN_RECORDS:
            self._constant = float(np.log(np.maximum(losses_S, 1e-6)).mean()) if len(kept) else 0.0
            return
        items = _candidates(architectures)
        fusions = tuple(sorted({item.fusion for item in architectures}))
        self._encoder = GraphEncoder(items, fusions=fusions, any_depth=True)
        self._sizes = slice(len(fusions), len(fusions) + NUM_SIZES)
        features_SF = self._encoder.features(items)
        self._lowest_F, self._highest_F = (
            features_SF[:, self._sizes].min(axis=0),
            features_SF[:, self._sizes].max(axis=0),
        )
        self._scale = LossScale.of(losses_S)
        logs_S = self._scale.logarithm(losses_S)
        self._process = GaussianProcess(
            features_SF,
            logs_S,
            noise_MM=np.zeros((len(kept), len(kept))),
            groups_F=self._encoder.groups_F,
        )
        unexplained = np.square(self._process.leave_one_out_errors()).mean() / (logs_S.var() or 1.0)
        self._mean, self._explained = float(logs_S.mean()), max(0.0, 1.0 - float(unexplained))

    def log_losses(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Returns the logarithm of the predicted final loss of each architecture, `[N]`."""
        if self._process is None:
            return np.full(len(architectures), self._constant)
        features_NF = self._encoder.features(_candidates(architectures))
        features_NF[:, self._sizes] = np.clip(features_NF[:, self._sizes], self._lowest_F, self._highest_F)
        # What does not even predict the source itself says little about another run.
        logs_N = self._mean + self._explained * (self._process.predict(features_NF).mean_N - self._mean)
        return np.asarray(np.log(self._scale.losses(logs_N)))


def _candidates(architectures: Sequence[Architecture]) -> list[Candidate]:
    """Returns the architectures with their parameters as their budget: sources may have budgets of other names."""
    return [Candidate(architecture=item, rule=None, budget=costs_of(item).parameters) for item in architectures]


def _evenly_by_loss(losses_S: FloatArray) -> list[int]:
    order = np.argsort(losses_S, kind="stable")
    if len(order) > _MAX_RECORDS:
        order = order[np.linspace(0, len(order) - 1, _MAX_RECORDS).round().astype(int)]
    return sorted(order.tolist())
