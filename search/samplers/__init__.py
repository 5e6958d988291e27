"""Which architecture to try next: samplers by name, none of which proposes one twice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from depthweave.reports.store.objectives import quality_names
from depthweave.search.parameters import Parameters
from depthweave.search.samplers.distinct import MAX_DRAWS, DistinctSampler
from depthweave.search.samplers.known_cost import KnownCostSampler
from depthweave.search.surrogate.candidates import Candidates, categorical, of_space
from depthweave.spaces.unknown_names import unknown_name
from depthweave.trainers import Measurement

OPTUNA_SAMPLERS: dict[str, Callable[[int], BaseSampler] | None] = {
    # Multivariate: the univariate default repeats itself in half of its proposals on a finite space.
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, n_startup_trials=8),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "gp": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "grid": None,
}
"""Optuna's, made from a seed; `grid` has none of its own, and takes the space in its order, once."""

SAMPLERS = ("known-cost", *OPTUNA_SAMPLERS)


def check_sampler(name: str) -> str:
    """The name, where it is known and can be had; `ValueError` names the nearest known one."""
    if name not in SAMPLERS:
        raise ValueError(unknown_name("sampler", name, SAMPLERS))
    if name == "gp" and find_spec("scipy") is None:
        raise ValueError("sampler 'gp' needs scipy: install it, or take known-cost")
    return name


def make_sampler(
    name: str,
    *,
    parameters: Parameters,
    objectives: Sequence[str],
    seed: int,
    measured: Mapping[str, Measurement] = MappingProxyType({}),
) -> BaseSampler:
    """The sampler of that name over a search space; `ValueError` as of `check_sampler`.

    `measured`: by architecture id, what was measured before training.
    """
    if check_sampler(name) == "known-cost":
        candidates = of_space(parameters, objectives=objectives, measured=measured)
        return KnownCostSampler(candidates, seed=seed, loss=list(objectives).index(quality_names(objectives)[0]))
    return distinct(name, parameters=parameters, seed=seed)


def distinct(name: str, *, parameters: Parameters, seed: int) -> DistinctSampler:
    """One of Optuna's by name, without repeats."""
    make = OPTUNA_SAMPLERS[name]
    if make is None:
        return DistinctSampler(parameters, make=None, seed=seed)

    def quietly(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return make(seed)

    # A Gaussian process draws the same again, after seconds.
    max_draws = 1 if name == "gp" else MAX_DRAWS
    return DistinctSampler(parameters, make=quietly, seed=seed, max_draws=max_draws)


__all__ = [
    "OPTUNA_SAMPLERS",
    "SAMPLERS",
    "Candidates",
    "DistinctSampler",
    "KnownCostSampler",
    "categorical",
    "check_sampler",
    "distinct",
    "make_sampler",
    "of_space",
]
