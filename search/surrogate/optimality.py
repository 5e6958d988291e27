"""How likely an unfinished trial is to be Pareto optimal, and how much hypervolume it is expected to add.

Axes: T trials, C costs, F members of the front of complete trials, O objectives, the loss first.

Source: M. L. Weitzman (1979), Optimal search for the best alternative, Econometrica 47(3), for starting a new trial.
"""

from __future__ import annotations

from typing import NamedTuple

import moocore
import numpy as np
from numpy.typing import NDArray

from depthweave.search.surrogate.hypervolume_improvement import hypervolume_improvement, normal_improvement
from depthweave.search.surrogate.learning_curves import Forecast

Array = NDArray[np.float64]

_MARGIN_FRAC = 0.1
"""Distance of the reference point beyond the worst values, as a share of their range (`reports/analysis/front.py`)."""


class FrontOptimality(NamedTuple):
    """The front of the complete trials, and the reference point of its hypervolume."""

    losses_F: Array
    costs_FC: Array
    reference_O: Array

    @property
    def volume(self) -> float:
        """Hypervolume of the front, up to the reference point."""
        points_FO = np.column_stack([self.losses_F, self.costs_FC])
        return float(moocore.hypervolume(points_FO, ref=self.reference_O))

    def probabilities(self, forecast: Forecast, costs_TC: Array) -> Array:
        """Returns the probability `[T]` that a final loss is below those of all front members that cost no more."""
        rival_TF = (self.costs_FC[None] <= costs_TC[:, None]).all(axis=2)
        best_T = np.where(rival_TF, self.losses_F, np.inf).min(axis=1)
        gap_T = np.where(np.isfinite(best_T), best_T - forecast.mean_T, np.inf)
        return _student_cdf(gap_T / np.maximum(forecast.sd_T, 1e-12))

    def improvements(self, forecast: Forecast, costs_TC: Array) -> Array:
        """Returns the expected hypervolume `[T]` that each trial alone adds to the front."""
        return hypervolume_improvement(
            lambda levels_L: normal_improvement(forecast.mean_T, forecast.sd_T, levels_L),
            costs_TC,
            front_losses_F=self.losses_F,
            front_costs_FC=self.costs_FC,
            reference_O=self.reference_O,
        )


def optimality_of(losses_T: Array, costs_TC: Array, *, all_costs: Array) -> FrontOptimality:
    """Returns the front of complete trials. `all_costs` `[trials, C]`, of the others too, set the reference point."""
    front_T = moocore.is_nondominated(np.column_stack([losses_T, costs_TC]))
    worst_O = np.append(losses_T.max(), all_costs.max(axis=0))
    best_O = np.append(losses_T.min(), all_costs.min(axis=0))
    margin_O = _MARGIN_FRAC * np.where(worst_O > best_O, worst_O - best_O, 1.0)
    return FrontOptimality(losses_T[front_T], costs_TC[front_T], worst_O + margin_O)


def should_start_new(improvements_S: Array, *, rate: float, first: int, rest: int) -> bool:
    """Returns whether a new trial is worth more than a paused one that improves by `rate` an evaluation (Weitzman).

    `improvements_S` is a sample of the expected improvement of a new trial after its `first` evaluations. It is then
    trained for its other `rest` evaluations only if the improvement exceeds what they are worth at `rate`.
    """
    return bool(np.maximum(improvements_S - rate * rest, 0.0).mean() > rate * first)


def _student_cdf(t: Array) -> Array:
    """Returns the distribution function of Student's t with four degrees of freedom, in closed form."""
    bounded = np.clip(t, -1e6, 1e6)
    sine = bounded / np.sqrt(4.0 + bounded * bounded)
    return np.asarray(0.5 + 0.75 * sine * (1.0 - sine * sine / 3.0))
