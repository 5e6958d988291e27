"""The strategy of a spec: its sampler, its pruner, and the chooser that makes one decision of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from depthweave.search.parameters import Parameters
from depthweave.search.pruners import make_chooser, make_pruner
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.samplers import make_sampler
from depthweave.search.samplers.guide import guide_of
from depthweave.search.spec.schema import Spec
from depthweave.trainers import Measurement


class Strategy(NamedTuple):
    """Who decides in a search."""

    sampler: BaseSampler
    """Which architecture is new."""
    pruner: BasePruner
    """Which trial stops for good, where there is no chooser."""
    chooser: Chooser | None
    """Which trial a free worker goes on with, where trials pause."""


def strategy_of(spec: Spec, *, parameters: Parameters, measured: Mapping[str, Measurement]) -> Strategy:
    """All made anew from the spec's names, options and seed, and from what was measured before training."""
    settings = spec.search
    sampler = make_sampler(
        settings.sampler, parameters=parameters, objectives=spec.objectives, seed=spec.seed, measured=measured
    )
    return Strategy(
        sampler=sampler,
        pruner=make_pruner(settings.pruner, options=settings.pruner_options),
        chooser=make_chooser(
            settings.pruner,
            options=settings.pruner_options,
            num_evaluations=spec.recipe.num_evaluations,
            seed=spec.seed,
            guide=guide_of(sampler, ids=parameters.architecture_ids),
        ),
    )
