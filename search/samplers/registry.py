"""The samplers by name: one row each in a literal dict."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import NamedTuple

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from depthweave.reports.store.objectives import quality_names
from depthweave.search.parameters import Parameters
from depthweave.search.pruners.chooser import Guide
from depthweave.search.samplers.distinct import MAX_DRAWS, DistinctSampler
from depthweave.search.samplers.guide import SurrogateGuide
from depthweave.search.samplers.known_cost import CurveSource, KnownCostSampler
from depthweave.search.surrogate.candidates import of_space
from depthweave.search.surrogate.pool import FixedPool, Pool
from depthweave.search.surrogate.sparse_pool import SparsePool, WeightSource
from depthweave.search.surrogate.transfer import SourceLosses, SourceModels
from depthweave.spaces.unknown_names import unknown_name
from depthweave.trainers import Measurement


class SamplerInputs(NamedTuple):
    """What a sampler is made from."""

    parameters: Parameters
    objectives: Sequence[str]
    seed: int
    measured: Mapping[str, Measurement]
    """Measurements from before the first training, by architecture id."""
    weights: WeightSource | None = None
    """Sizes of the connections of complete trials, which propose sparse graphs."""
    sources: SourceModels | None = None
    """Models of other runs' losses; `None` without a warm start."""


class SearchSampler(NamedTuple):
    """A sampler and what it shares with the rest of a search."""

    sampler: BaseSampler
    guide: Guide | None = None
    """Tells a chooser what the sampler's surrogate expects; `None` for a sampler without a surrogate."""
    use_curves: Callable[[CurveSource], None] | None = None
    """Gives the sampler the losses of running and stopped trials; `None` for a sampler that does not read them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerRow:
    """What a search knows about a sampler."""

    make: Callable[[SamplerInputs], SearchSampler]
    needs_costs: bool = False
    """Whether it weighs the costs of untried architectures, so that some are measured before the first training."""
    requires: str | None = None
    """The optional package that the sampler imports."""
    proposes_sparse: bool = False
    """Whether it proposes sparse graphs, which are not enumerated."""
    uses_sources: bool = False
    """Whether it learns from other runs."""


def _known_cost(inputs: SamplerInputs) -> SearchSampler:
    pool: Pool
    if inputs.parameters.has_sparse:
        pool = SparsePool(
            inputs.parameters,
            objectives=inputs.objectives,
            measured=inputs.measured,
            seed=inputs.seed,
            weights=inputs.weights,
            sources=inputs.sources,
        )
    else:
        candidates = of_space(
            inputs.parameters, objectives=inputs.objectives, measured=inputs.measured, sources=inputs.sources
        )
        pool = FixedPool(candidates, keys=inputs.parameters.architecture_ids)
    loss = list(inputs.objectives).index(quality_names(inputs.objectives)[0])
    sampler = KnownCostSampler(pool, seed=inputs.seed, loss=loss)

    def use_curves(curves: CurveSource) -> None:
        sampler.curves = curves

    return SearchSampler(sampler, SurrogateGuide(pool), use_curves)


def _distinct(
    make: Callable[[int], BaseSampler] | None, *, max_draws: int = MAX_DRAWS
) -> Callable[[SamplerInputs], SearchSampler]:
    """Returns one of Optuna's samplers, made from a seed, without repeats; for `None` the space in its own order."""

    def make_quietly(seed: int) -> BaseSampler:
        assert make is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return make(seed)

    def make_distinct(inputs: SamplerInputs) -> SearchSampler:
        inner = None if make is None else make_quietly
        return SearchSampler(DistinctSampler(inputs.parameters, make=inner, seed=inputs.seed, max_draws=max_draws))

    return make_distinct


SAMPLERS: Mapping[str, SamplerRow] = {
    "known-cost": SamplerRow(make=_known_cost, needs_costs=True, proposes_sparse=True, uses_sources=True),
    # Multivariate: the univariate default repeats itself in half of its proposals on a finite space.
    "tpe": SamplerRow(make=_distinct(lambda seed: TPESampler(seed=seed, multivariate=True, n_startup_trials=8))),
    "nsga2": SamplerRow(make=_distinct(lambda seed: NSGAIISampler(seed=seed, population_size=20))),
    # A Gaussian process needs seconds for a draw, and draws the same again.
    "gp": SamplerRow(make=_distinct(lambda seed: GPSampler(seed=seed), max_draws=1), requires="scipy"),
    "random": SamplerRow(make=_distinct(lambda seed: RandomSampler(seed=seed))),
    "grid": SamplerRow(make=_distinct(None)),
}


def check_sampler(name: str) -> str:
    """Returns the name. Raises `ValueError` if it is unknown or its package is not installed."""
    if name not in SAMPLERS:
        raise ValueError(unknown_name("sampler", name, SAMPLERS))
    requires = SAMPLERS[name].requires
    if requires is not None and find_spec(requires) is None:
        raise ValueError(f"sampler '{name}' needs {requires}: install it, or take another sampler")
    return name


def check_sparse_sampler(name: str) -> None:
    """Raises `ValueError` where the sampler does not propose sparse graphs."""
    if not SAMPLERS[name].proposes_sparse:
        able = ", ".join(key for key, row in SAMPLERS.items() if row.proposes_sparse)
        raise ValueError(f"search.sampler is {name}: space.sparse needs {able}; change one of them")


def check_sampler_of_sources(name: str) -> None:
    """Raises `ValueError` where the sampler does not learn from other runs."""
    if not SAMPLERS[name].uses_sources:
        able = ", ".join(key for key, row in SAMPLERS.items() if row.uses_sources)
        raise ValueError(f"search.sampler is {name}: search.warm_start needs {able}; change one of them")


def make_sampler(
    name: str,
    *,
    parameters: Parameters,
    objectives: Sequence[str],
    seed: int,
    measured: Mapping[str, Measurement] = MappingProxyType({}),
    weights: WeightSource | None = None,
    sources: Sequence[SourceLosses] = (),
) -> SearchSampler:
    """Returns the sampler of that name over a search space. Raises `ValueError` as `check_sampler` does.

    `measured` holds measurements from before the first training, by architecture id. `weights` are the sizes of the
    connections of complete trials. `sources` are the losses of other runs, for a sampler that `uses_sources`.
    """
    models = SourceModels(sources) if sources else None
    return SAMPLERS[check_sampler(name)].make(SamplerInputs(parameters, objectives, seed, measured, weights, models))
