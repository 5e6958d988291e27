"""Which architecture to try next: Optuna samplers by name, none of which proposes one twice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from difflib import get_close_matches

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from depthweave.search.samplers.distinct import DistinctSampler

MakeSampler = Callable[[int], BaseSampler]
"""Makes an Optuna sampler from a seed."""


def _tpe(seed: int) -> BaseSampler:
    # Multivariate: the univariate default repeats itself in half of its proposals on a finite space.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, n_startup_trials=8)


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed, population_size=20)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, MakeSampler | None] = {"tpe": _tpe, "nsga2": _nsga2, "random": _random, "grid": None}
"""`grid` has no sampler of its own: `DistinctSampler` then takes the space in its order."""


def check_sampler(name: str) -> str:
    """The name, where it is known; `ValueError` names the nearest known one."""
    if name not in SAMPLERS:
        near = get_close_matches(name, SAMPLERS, n=1, cutoff=0.0)
        raise ValueError(f"sampler '{name}' is not known: did you mean '{near[0]}'? Known: {', '.join(SAMPLERS)}")
    return name


__all__ = ["SAMPLERS", "DistinctSampler", "MakeSampler", "check_sampler"]
