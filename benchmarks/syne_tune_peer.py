"""Syne Tune's multi-objective searchers and its multi-objective ASHA, driven by hand.

Needs syne-tune (0.16 was used), which is not among the project's dependencies.

Two faults of 0.16 are mended here; with them 138 of 139 architectures of one search were stopped.
`NonDominatedPriority` returns the trials in the order of their ranks, where its ASHA expects the rank of each trial.
And `compute_epsilon_net` returns ranks, which `nondominated_sort` takes for an order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.connectivity_problems import CurveProblem
from benchmarks.problems import Problem
from depthweave.search.pruners.chooser import TrialSnapshot

_EVALUATION = "evaluation"
"""What counts the progress of a trial."""
_METHODS = "syne_tune.optimizer.schedulers.multiobjective"


class SyneTuneProposer:
    """A multi-objective searcher."""

    def __init__(self, problem: Problem, searcher: Any, seed: int) -> None:
        choice = import_module("syne_tune.config_space").choice
        space = {name: choice(list(item.choices)) for name, item in problem.parameters.distributions.items()}
        # Syne Tune draws some of its random configurations from NumPy's global state.
        np.random.seed(seed)  # noqa: NPY002
        self._searcher = searcher(config_space=space, random_seed=seed)
        self._parameters = problem.parameters
        self._rows = {name: row for row, name in enumerate(problem.parameters.architecture_ids)}
        self._running: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        self._num_asked = 0

    def ask(self) -> int | None:
        config = self._searcher.suggest()
        found = self._parameters.architecture_id(config)
        if found is None:
            raise ValueError(f"Syne Tune proposed {config}, which leads to no row: give it a table without holes")
        self._running.setdefault(self._rows[found], []).append((self._num_asked, config))
        self._num_asked += 1
        return self._rows[found]

    def hear(self, row: int, losses: Sequence[float]) -> None:
        pass

    def tell(self, row: int, values: Sequence[float] | None) -> None:
        number, config = self._running[row].pop(0)
        if values is not None:
            self._searcher.on_trial_complete(number, config, list(values))


class SyneTuneStopper:
    """Multi-objective ASHA, which stops what is not in the best third of a rung.

    Source: R. Schmucker et al. (2021), arXiv:2106.12639.
    """

    def __init__(self, problem: CurveProblem, seed: int) -> None:
        # It draws brackets from NumPy's global state; there is one.
        np.random.seed(seed)  # noqa: NPY002
        self._names = problem.problem.objectives
        self._trial = import_module("syne_tune.backend.trial_status").Trial
        self._stop = import_module("syne_tune.optimizer.scheduler").SchedulerDecision.STOP
        self._scheduler = import_module(f"{_METHODS}.moasha").MOASHA(
            config_space={},
            metrics=list(self._names),
            multiobjective_priority=_ranks(),
            time_attr=_EVALUATION,
            max_t=problem.curves.num_evaluations,
            random_seed=seed,
        )
        self._begun: dict[int, Any] = {}

    def should_stop(self, snapshot: TrialSnapshot) -> bool:
        if snapshot.number not in self._begun:
            self._begun[snapshot.number] = self._trial(snapshot.number, {}, datetime.now())
            self._scheduler.on_trial_add(self._begun[snapshot.number])
        return bool(self._scheduler.on_trial_result(self._begun[snapshot.number], self._result(snapshot)) == self._stop)

    def ended(self, snapshot: TrialSnapshot) -> None:
        trial = self._begun.pop(snapshot.number)
        if snapshot.state == "complete":
            self._scheduler.on_trial_complete(trial, self._result(snapshot))
        else:
            self._scheduler.on_trial_remove(trial)

    def _result(self, snapshot: TrialSnapshot) -> dict[str, float]:
        values = snapshot.losses[-1], *(snapshot.costs[name] for name in self._names[1:])
        return {**dict(zip(self._names, values, strict=True)), _EVALUATION: len(snapshot.losses)}


def _ranks() -> Any:
    """Returns Syne Tune's priority with the rank of each trial: by fronts, and within one spread by its epsilon-net."""
    shipped = import_module(f"{_METHODS}.multiobjective_priority").NonDominatedPriority
    sorting = import_module(f"{_METHODS}.non_dominated_priority")

    class Ranks(shipped):
        def priority_unsafe(self, objectives: NDArray[np.float64]) -> NDArray[np.intp]:
            ranks, left = np.zeros(len(objectives), dtype=np.intp), np.arange(len(objectives))
            while len(left):
                of_front = sorting.pareto_efficient(objectives[left])
                front = left[of_front]
                ranks[front] = ranks.max() + 1 + sorting.compute_epsilon_net(objectives[front], dim=self.dim)
                left = left[~of_front]
            return ranks

    return Ranks()


def regularized_evolution(problem: Problem, seed: int) -> SyneTuneProposer:
    """Returns multi-objective regularized evolution."""
    module = import_module(f"{_METHODS}.multi_objective_regularized_evolution")
    return SyneTuneProposer(problem, module.MultiObjectiveRegularizedEvolution, seed)


def ehvi(problem: Problem, seed: int) -> SyneTuneProposer:
    """Returns expected hypervolume improvement, which needs botorch too."""
    module = import_module(f"{_METHODS}.expected_hyper_volume_improvement")
    return SyneTuneProposer(problem, module.ExpectedHyperVolumeImprovement, seed)
