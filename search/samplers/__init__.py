"""Which architecture to try next: samplers by name. None of them proposes an architecture twice."""

from depthweave.search.samplers.distinct import DistinctSampler
from depthweave.search.samplers.known_cost import KnownCostSampler
from depthweave.search.samplers.registry import (
    SAMPLERS,
    SamplerInputs,
    SamplerRow,
    check_sampler,
    check_sampler_of_sources,
    check_sparse_sampler,
    make_sampler,
)
from depthweave.search.surrogate.candidates import Candidates, categorical, of_space

__all__ = [
    "SAMPLERS",
    "Candidates",
    "DistinctSampler",
    "KnownCostSampler",
    "SamplerInputs",
    "SamplerRow",
    "categorical",
    "check_sampler",
    "check_sampler_of_sources",
    "check_sparse_sampler",
    "make_sampler",
    "of_space",
]
