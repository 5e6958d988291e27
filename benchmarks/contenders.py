"""Samplers to compare, by name: ours, Optuna's as shipped, local Pareto evolution, and Syne Tune's if it is installed.

A contender makes a `Proposer` (replay.py) from a problem and a seed. Ours never propose a row twice. Others are used
as shipped; a row that they propose again costs another evaluation.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import moocore
import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import Trial, TrialState

from benchmarks import syne_tune_peer as syne_tune
from benchmarks.botorch_peer import BoTorchProposer
from benchmarks.problems import Problem
from benchmarks.replay import Proposer
from depthweave.search.pruners.peers import COSTS
from depthweave.search.samplers import make_sampler
from depthweave.search.samplers.known_cost import KnownCostSampler

START = 10
"""Random proposals before local Pareto evolution begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A sampler under a name."""

    name: str
    make: Callable[[Problem, int], Proposer]
    """From a problem and a seed."""
    needs: tuple[str, ...] = ()
    """Imported packages that are not dependencies of the project."""
    max_evaluations: int | None = None
    """Limit for a sampler that is too slow to continue."""
    has_surrogate: bool = False
    """Whether it learns from the problem's candidates, so that a chooser may be guided by the same surrogate."""

    @property
    def missing(self) -> list[str]:
        """The needed packages that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]


class OptunaProposer:
    """An Optuna sampler in its own study."""

    def __init__(self, problem: Problem, sampler: BaseSampler, *, repeats: bool) -> None:
        """`repeats`: whether the sampler may propose a row again; else proposals end when all rows are tried."""
        self._problem, self._repeats = problem, repeats
        self._rows = {name: row for row, name in enumerate(problem.parameters.architecture_ids)}
        self._study = optuna.create_study(directions=["minimize"] * len(problem.objectives), sampler=sampler)
        self._running: dict[int, list[Trial]] = {}
        self._num_asked = 0
        self.curves: dict[int, tuple[float, ...]] = {}
        """Losses after evaluation 1, 2, ... by trial number."""

    def ask(self) -> int | None:
        if not self._repeats and self._num_asked == len(self._rows):
            return None
        trial = self._study.ask(dict(self._problem.parameters.distributions))
        found = self._problem.parameters.architecture_id(trial.params)
        if found is None:  # no architecture: nothing was trained, so nothing is charged
            self._study.tell(trial, state=TrialState.FAIL)
            return self.ask()
        row = self._rows[found]
        self._num_asked += 1
        self._running.setdefault(row, []).append(trial)
        return row

    def hear(self, row: int, losses: Sequence[float]) -> None:
        trial = self._running[row][0]
        if trial.number not in self.curves:
            # Before it trains a trial measures its costs.
            costs = self._problem.points_NO[row, 1:].tolist()
            trial.set_user_attr(COSTS, dict(zip(self._problem.objectives[1:], costs, strict=True)))
        self.curves[trial.number] = tuple(losses)

    def tell(self, row: int, values: Sequence[float] | None) -> None:
        trial = self._running[row].pop(0)
        state = TrialState.PRUNED if values is None else TrialState.COMPLETE
        self._study.tell(trial, values=values, state=state)


class EvolutionProposer:
    """Local Pareto evolution: changes one parameter of a random front member, or two if all of those are tried."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._parameters, self._rng = problem.parameters, random.Random(seed)
        self._ids = problem.parameters.architecture_ids
        self._rows = {name: row for row, name in enumerate(self._ids)}
        self._untried = set(self._ids)
        self._values: dict[int, tuple[float, ...]] = {}

    def ask(self) -> int | None:
        if not self._untried:
            return None
        found = self._near() if len(self._values) >= START else None
        if found is None:
            found = self._rng.choice(sorted(self._untried))
        self._untried.remove(found)
        return self._rows[found]

    def hear(self, row: int, losses: Sequence[float]) -> None:
        pass

    def tell(self, row: int, values: Sequence[float] | None) -> None:
        if values is not None:
            self._values[row] = tuple(values)

    def _near(self) -> str | None:
        parents = self._front()
        for num_changes in (1, 2, 3):
            for _ in range(20):
                values = self._parameters.spelling(self._ids[self._rng.choice(parents)])
                for name in self._rng.sample(sorted(values), num_changes):
                    choices = self._parameters.distributions[name].choices
                    values[name] = self._rng.choice([item for item in choices if item != values[name]])
                found = self._parameters.architecture_id(values)
                if found in self._untried:
                    return found
        return None

    def _front(self) -> list[int]:
        rows = list(self._values)
        kept_R = moocore.is_nondominated(np.array(list(self._values.values())), keep_weakly=True)
        return [row for row, kept in zip(rows, kept_R, strict=True) if kept]


def ours(name: str, *, needs: tuple[str, ...] = (), max_evaluations: int | None = None) -> Contender:
    """Returns one of Optuna's samplers as Depthweave uses it: without repeats."""

    def make(problem: Problem, seed: int) -> Proposer:
        found = make_sampler(name, parameters=problem.parameters, objectives=problem.objectives, seed=seed)
        return OptunaProposer(problem, found.sampler, repeats=False)

    return Contender(name=name, make=make, needs=needs, max_evaluations=max_evaluations)


def known_cost(name: str = "known-cost", *, knows_costs: bool = True) -> Contender:
    """Returns ours, which also learns from curves. `knows_costs`: whether it knows the costs in advance."""

    def make(problem: Problem, seed: int) -> Proposer:
        unknown_NC = np.full_like(problem.candidates.costs_NC, np.nan)
        candidates = problem.candidates if knows_costs else replace(problem.candidates, costs_NC=unknown_NC)
        found = KnownCostSampler(candidates, seed=seed)
        proposer = OptunaProposer(problem, found, repeats=False)
        found.curves = lambda: proposer.curves
        return proposer

    return Contender(name=name, make=make, max_evaluations=100, has_surrogate=True)


def as_shipped(
    name: str, make: Callable[[int], BaseSampler], *, needs: tuple[str, ...] = (), max_evaluations: int | None = None
) -> Contender:
    """An Optuna sampler made from a seed."""

    def made(problem: Problem, seed: int) -> Proposer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return OptunaProposer(problem, make(seed), repeats=True)

    return Contender(name=name, make=made, needs=needs, max_evaluations=max_evaluations)


CONTENDERS: dict[str, Contender] = {
    item.name: item
    for item in (
        known_cost(),
        known_cost("known-cost, costs unknown", knows_costs=False),
        Contender(name="botorch EHVI, costs told", make=BoTorchProposer, needs=("botorch",), max_evaluations=50),
        ours("random"),
        ours("tpe"),
        ours("nsga2"),
        ours("gp", needs=("scipy",), max_evaluations=100),
        Contender(name="local evolution", make=EvolutionProposer),
        as_shipped("optuna TPE", lambda seed: TPESampler(seed=seed)),
        as_shipped("optuna TPE multivariate", lambda seed: TPESampler(seed=seed, multivariate=True)),
        as_shipped("optuna NSGA-II (20)", lambda seed: NSGAIISampler(seed=seed, population_size=20)),
        as_shipped("optuna GP", lambda seed: GPSampler(seed=seed), needs=("scipy",), max_evaluations=300),
        Contender(name="syne-tune MO-REA", make=syne_tune.regularized_evolution, needs=("syne_tune",)),
        Contender(name="syne-tune EHVI", make=syne_tune.ehvi, needs=("syne_tune", "botorch"), max_evaluations=50),
    )
}
"""In the order of the tables."""
