"""The strategy of a spec: its sampler, its pruner, and the chooser that decides with both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from depthweave.search.parameters import Parameters
from depthweave.search.pruners import make_chooser, make_pruner
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.samplers import make_sampler
from depthweave.search.samplers.known_cost import CurveSource
from depthweave.search.spec.schema import Spec
from depthweave.search.surrogate.sparse_pool import WeightSource
from depthweave.search.surrogate.transfer import SourceLosses
from depthweave.trainers import Measurement


class Strategy(NamedTuple):
    """What decides in a search."""

    sampler: BaseSampler
    """Proposes the next architecture."""
    use_curves: Callable[[CurveSource], None] | None
    """Gives the sampler the losses of running and stopped trials; `None` where it does not read them."""
    pruner: BasePruner
    """Stops trials for good, in a search without a chooser."""
    chooser: Chooser | None
    """Pauses trials and chooses what a free worker does next."""


def strategy_of(
    spec: Spec,
    *,
    parameters: Parameters,
    measured: Mapping[str, Measurement],
    weights: WeightSource | None = None,
    sources: Sequence[SourceLosses] = (),
) -> Strategy:
    """Returns a new strategy from the spec's names, options and seed, and from the survey's measurements.

    `weights` are the sizes of trained connections, which propose sparse graphs. `sources` are other runs' losses.
    """
    settings = spec.search
    sampler, guide, use_curves = make_sampler(
        settings.sampler,
        parameters=parameters,
        objectives=spec.objectives,
        seed=spec.seed,
        measured=measured,
        weights=weights,
        sources=sources,
    )
    return Strategy(
        sampler=sampler,
        use_curves=use_curves,
        pruner=make_pruner(settings.pruner, options=settings.pruner_options),
        chooser=make_chooser(
            settings.pruner,
            options=settings.pruner_options,
            num_evaluations=spec.make_task().schedule(spec.recipe).evaluations,
            seed=spec.seed,
            guide=guide,
        ),
    )
