"""BoTorch's expected hypervolume improvement, with exact costs: a peer with the same knowledge as known-cost.

The loss is a `SingleTaskGP` over the candidates' features, as BoTorch ships it. Each cost is a deterministic model that
looks up the row. `qLogExpectedHypervolumeImprovement`, or its `Noisy` relative, is maximised over all untried rows.
Needs botorch (0.18 was used), which is not among the project's dependencies.

Source: S. Daulton, M. Balandat and E. Bakshy (2020), arXiv:2006.05078, and (2021), arXiv:2105.08195; S. Ament and
others (2023), arXiv:2310.20708.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.problems import Problem

START = 8
"""Random rows before there is a model, as many as known-cost spreads."""
_SAMPLES = 32
"""Quasi-random draws of the loss, one dimension; the costs have none."""
_BLOCK = 2048
"""Rows whose improvement is computed at once."""


class BoTorchProposer:
    """Proposes the untried row with the largest expected hypervolume improvement, costs known."""

    def __init__(self, problem: Problem, seed: int, *, noisy: bool = False) -> None:
        """`noisy`: whether the losses of tried rows are uncertain too, as in the newer method."""
        self._costs_NC = torch.from_numpy(problem.points_NO[:, 1:].copy())
        columns_NF = torch.from_numpy(_unit(problem.candidates.features_NF))
        self._noisy = noisy
        # The last column is the row's number: the cost models look it up, and the loss model does not see it.
        self._points_NX = torch.cat([columns_NF, torch.arange(len(columns_NF), dtype=torch.float64)[:, None]], dim=1)
        self._order = np.random.default_rng(seed).permutation(len(columns_NF)).tolist()
        self._seed = seed
        self._tried: list[int] = []
        self._running: list[int] = []
        self._losses: dict[int, float] = {}

    def ask(self) -> int | None:
        left = [row for row in self._order if row not in set(self._tried)]
        if not left:
            return None
        row = left[0] if len(self._losses) < START else self._best(left)
        self._tried.append(row)
        self._running.append(row)
        return row

    def hear(self, row: int, losses: Sequence[float]) -> None:
        pass

    def tell(self, row: int, values: Sequence[float] | None) -> None:
        self._running.remove(row)
        if values is not None:
            self._losses[row] = values[0]

    def _best(self, left: list[int]) -> int:
        torch.manual_seed(self._seed)
        known = list(self._losses)
        losses_M1 = torch.tensor([[self._losses[row]] for row in known], dtype=torch.float64)
        # BoTorch maximises.
        outcomes_MO = -torch.cat([losses_M1, self._costs_NC[known]], dim=1)
        discrete = import_module("botorch.optim").optimize_acqf_discrete
        acquisition = self._acquisition(self._points_NX[known], outcomes_MO)
        if self._running:
            acquisition.set_X_pending(self._points_NX[self._running])
        found, _ = discrete(
            acquisition,
            q=1,
            choices=self._points_NX[left],
            max_batch_size=_BLOCK,
            unique=True,
        )
        return int(found[0, -1].item())

    def _acquisition(self, points_MX: Tensor, outcomes_MO: Tensor) -> Any:
        multi_objective = import_module("botorch.utils.multi_objective")
        partitioning = import_module(f"{multi_objective.__name__}.box_decompositions.non_dominated")
        corner_O = import_module(f"{multi_objective.__name__}.hypervolume").infer_reference_point(
            outcomes_MO[multi_objective.is_non_dominated(outcomes_MO)]
        )
        models = import_module("botorch.models")
        costs = import_module("botorch.models.deterministic").GenericDeterministicModel(
            lambda X: -self._costs_NC[X[..., -1].long()], num_outputs=self._costs_NC.shape[1]
        )
        model = models.ModelList(_fitted(points_MX, outcomes_MO[:, :1]), costs)
        sampler = import_module("botorch.sampling.get_sampler").get_sampler(
            model.posterior(points_MX[:1]), sample_shape=torch.Size([_SAMPLES]), seed=self._seed
        )
        kinds = import_module("botorch.acquisition.multi_objective.logei")
        if self._noisy:
            return kinds.qLogNoisyExpectedHypervolumeImprovement(
                model=model, ref_point=corner_O, X_baseline=points_MX, sampler=sampler, prune_baseline=True
            )
        return kinds.qLogExpectedHypervolumeImprovement(
            model=model,
            ref_point=corner_O,
            sampler=sampler,
            partitioning=partitioning.FastNondominatedPartitioning(ref_point=corner_O, Y=outcomes_MO),
        )


def _unit(features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the features between 0 and 1, as BoTorch's priors expect them."""
    low_F, high_F = features_NF.min(axis=0), features_NF.max(axis=0)
    return np.asarray((features_NF - low_F) / np.where(high_F > low_F, high_F - low_F, 1.0))


def _fitted(points_MX: Tensor, losses_M1: Tensor) -> Any:
    transforms = import_module("botorch.models.transforms")
    keep = torch.arange(points_MX.shape[1] - 1)
    model = import_module("botorch.models").SingleTaskGP(
        points_MX, losses_M1, input_transform=transforms.input.FilterFeatures(feature_indices=keep)
    )
    likelihood = import_module("gpytorch.mlls").ExactMarginalLogLikelihood(model.likelihood, model)
    import_module("botorch.fit").fit_gpytorch_mll(likelihood)
    return model
