"""Which learning rate each architecture trains with, where a spec gives several to choose from, or `auto`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from depthweave.reports.analysis.source_runs import trained_here
from depthweave.reports.store.learning_rates import LEARNING_RATES_FILE, RateGroup, read_rate_trainings
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.fusions import fusion_family
from depthweave.spaces.skip_connections import num_skip_connections
from depthweave.spaces.space import Candidate, SearchSpace
from depthweave.trainers import Recipe

if TYPE_CHECKING:
    # Trials import this module, and should not import the spec's libraries.
    from depthweave.search.spec.schema import Spec


_RATE_TIMES_WIDTH = 0.4
"""Of `auto`."""
_HIGHEST_RATE = 0.01
"""Of `auto`, at width 40 and below."""
_SHARE = 3
"""A training takes this part of a trial's steps, with a complete schedule."""
_SEED_SHIFT = 2**31
"""From the search's seed; modulo 2^32."""


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """The rates of a run; without a choice or a rule, all architectures train with the recipe's own."""

    by_group: Mapping[RateGroup, float] = field(default_factory=dict)
    """Those that were chosen."""
    widths: Mapping[RateGroup, int] = field(default_factory=dict)
    """The widths that they were chosen at."""
    by_width: bool = False
    """Whether each follows from the width alone."""

    def recipe(self, recipe: Recipe, architecture: Architecture) -> Recipe:
        """Returns the recipe with the architecture's rate."""
        if self.by_width:
            return dataclasses.replace(recipe, learning_rate=rate_of_width(architecture.width))
        if not self.by_group:
            return recipe
        group = group_of(architecture)
        if group not in self.by_group:
            return recipe
        # In inverse proportion to the width, as `auto`. No width is below that of the smallest budget.
        share = min(1.0, self.widths[group] / architecture.width)
        return dataclasses.replace(recipe, learning_rate=_rounded(self.by_group[group] * share))


ONE_RATE = LearningRates()
"""Of a run whose spec gives one."""


def rate_of_width(width: int) -> float:
    """Returns the learning rate of `auto`: in inverse proportion to the width, as Adam's steps on matrices want it.

    See Yang et al., "Tensor Programs V", arXiv 2203.03466. The factor is measured at widths 48 and 96
    (docs/log/training.md).
    """
    return _rounded(min(_HIGHEST_RATE, _RATE_TIMES_WIDTH / width))


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")


def chosen_rates(store: RunStore, *, spec: Spec) -> LearningRates:
    """Returns the rates that a run has chosen so far.

    Raises `ValueError`, one line, where their file is damaged, or missing though trials were trained with them.
    """
    if not spec.learning_rates:
        return LearningRates(by_width=True) if spec.rate_by_width else ONE_RATE
    found = read_rate_trainings(store)
    if found is None and trained_here(store.records()):
        raise ValueError(
            f"{store.where}/{LEARNING_RATES_FILE}: is missing, and the trials have its rates: restore it, or start a "
            "new run"
        )
    return ONE_RATE if found is None else LearningRates(by_group=found.chosen(), widths=found.widths())


def group_of(architecture: Architecture) -> RateGroup:
    """Returns the architectures that share a rate with this one: those of its fusion's family and its depth."""
    return RateGroup(fusion_family(architecture.fusion), architecture.depth)


def representatives(space: SearchSpace) -> dict[RateGroup, Candidate]:
    """Returns the architecture of each family and depth that trains with every rate."""
    found: dict[RateGroup, Candidate] = {}
    for candidate in space:
        group = group_of(candidate.architecture)
        if group not in found or _preference(candidate) < _preference(found[group]):
            found[group] = candidate
    return dict(sorted(found.items()))


def _preference(candidate: Candidate) -> tuple[int, int]:
    return candidate.budget, -num_skip_connections(candidate.architecture.wiring)


def short_recipe(spec: Spec) -> Recipe:
    """Returns the recipe of the trainings but for the rate."""
    steps = max(1, spec.recipe.steps // _SHARE)
    return dataclasses.replace(
        spec.recipe, steps=steps, num_evaluations=min(2, steps), seed=(spec.seed + _SEED_SHIFT) % 2**32
    )
