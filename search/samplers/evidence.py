"""From what trials reported to what the surrogate may believe: final losses, and forecasts of those that are not known.

A study with its curves (the sampler's view) and the standings of a search (the chooser's) come to the same evidence.

Axes: T trials, R rungs and the last evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from depthweave.search.pruners.backcast import backcasts
from depthweave.search.pruners.forecast import fit_links, forecast_final, geometric_rungs
from depthweave.search.samplers.losses import Estimate, Evidence

_RUNG_FACTOR = 2.0


class Told(NamedTuple):
    """One trial."""

    row: int
    """Of the candidates."""
    losses: tuple[float, ...]
    """After evaluation 1, 2, ...; the final loss alone where there is no curve."""
    state: Literal["unfinished", "complete", "failed"]
    costs_C: tuple[float, ...] | None
    """As measured, NaN or infinite where one is not; `None` before."""


def evidence_of(trials: Sequence[Told]) -> list[Evidence]:
    """The evidence of each trial, in their order.

    Curves are forecast once one is whole; before that a trial that is not complete has no loss that counts.
    """
    num_evaluations = max((len(item.losses) for item in trials if item.state == "complete"), default=0)
    begun = [place for place, item in enumerate(trials) if item.losses and item.state != "failed"]
    last: dict[int, Estimate] = {}
    earlier: dict[int, list[Estimate]] = {}
    if num_evaluations > 1:
        evaluations = _levels([len(trials[place].losses) for place in begun], num_evaluations=num_evaluations)
        losses_TR = np.full((len(begun), len(evaluations)), np.nan)
        for row, place in enumerate(begun):
            losses = trials[place].losses
            for rung, evaluation in enumerate(evaluations):
                if evaluation <= len(losses):
                    losses_TR[row, rung] = losses[evaluation - 1]
        found = forecast_final(fit_links(losses_TR, evaluations=evaluations), losses_TR)
        for row, place in enumerate(begun):
            last[place] = Estimate(float(found.mean_T[row]), float(found.sd_T[row]))
        for test in backcasts(losses_TR, evaluations=evaluations):
            earlier.setdefault(begun[test.trial], []).append(Estimate(test.mean, test.sd))
    return [_weighed(item, last.get(place), earlier.get(place, ())) for place, item in enumerate(trials)]


def _levels(lengths: Sequence[int], *, num_evaluations: int) -> tuple[int, ...]:
    """Evaluations that curves are looked at: the rungs by factors of two, and where several trials stand."""
    common = {length for length in set(lengths) if length < num_evaluations and lengths.count(length) > 2}
    rungs = geometric_rungs(num_evaluations, grace=1, factor=_RUNG_FACTOR)
    return (*sorted({*rungs, *common}), num_evaluations)


def _weighed(item: Told, forecast: Estimate | None, earlier: Sequence[Estimate]) -> Evidence:
    if item.state == "complete":
        return Evidence(item.row, item.losses[-1], finished=True, costs_C=item.costs_C, earlier=tuple(earlier))
    if item.state == "failed" or forecast is None:
        return Evidence(item.row, None, failed=item.state == "failed", costs_C=item.costs_C)
    return Evidence(item.row, forecast.mean, forecast.sd, costs_C=item.costs_C, earlier=tuple(earlier))
