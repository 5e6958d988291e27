"""From what trials reported to what the surrogate may believe: final losses, and forecasts of those that are not known.

A study with its curves (the sampler's view) and the standings of a search (the chooser's) come to the same evidence.

Axes: T trials, R rungs and the last evaluation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from depthweave.search.surrogate.backtest import backtests
from depthweave.search.surrogate.learning_curves import fit_links, forecast_final, geometric_rungs
from depthweave.search.surrogate.loss_model import Estimate, Evidence

_RUNG_FACTOR = 2.0


class TrialObservation(NamedTuple):
    """One trial."""

    row: int
    """Of the candidates."""
    losses: tuple[float, ...]
    """After evaluation 1, 2, ...; the final loss alone where there is no curve."""
    state: Literal["unfinished", "complete", "failed"]
    costs_C: tuple[float, ...] | None
    """As measured, NaN or infinite where one is not; `None` before."""


def evidence_of(trials: Sequence[TrialObservation]) -> list[Evidence]:
    """The evidence of each trial, in their order.

    Curves are forecast once one is whole; before that a trial that is not complete has no loss that counts.
    """
    found = _forecasts(tuple((item.losses, item.state) for item in trials))
    return [_evidence(item, *forecast) for item, forecast in zip(trials, found, strict=True)]


class _Forecasts(NamedTuple):
    """Of one trial."""

    last: Estimate | None = None
    earlier: tuple[Estimate, ...] = ()


# A chooser that wants a new trial has just asked what the sampler asks next.
@lru_cache(maxsize=1)
def _forecasts(curves: tuple[tuple[tuple[float, ...], str], ...]) -> list[_Forecasts]:
    """By losses and state of each trial."""
    num_evaluations = max((len(losses) for losses, state in curves if state == "complete"), default=0)
    begun = [place for place, (losses, state) in enumerate(curves) if losses and state != "failed"]
    if num_evaluations < 2:
        return [_Forecasts()] * len(curves)
    evaluations = _levels([len(curves[place][0]) for place in begun], num_evaluations=num_evaluations)
    losses_TR = np.full((len(begun), len(evaluations)), np.nan)
    for row, place in enumerate(begun):
        losses = curves[place][0]
        reached = [losses[evaluation - 1] for evaluation in evaluations if evaluation <= len(losses)]
        losses_TR[row, : len(reached)] = reached
    found = forecast_final(fit_links(losses_TR, evaluations=evaluations), losses_TR)
    earlier: dict[int, list[Estimate]] = defaultdict(list)
    for test in backtests(losses_TR, evaluations=evaluations):
        earlier[test.trial].append(Estimate(test.mean, test.sd))
    forecasts = [_Forecasts()] * len(curves)
    for row, place in enumerate(begun):
        last = Estimate(float(found.mean_T[row]), float(found.sd_T[row]))
        forecasts[place] = _Forecasts(last, tuple(earlier[row]))
    return forecasts


def _levels(lengths: Sequence[int], *, num_evaluations: int) -> tuple[int, ...]:
    """Evaluations that curves are looked at: the rungs by factors of two, and where several trials stand."""
    common = {length for length in set(lengths) if length < num_evaluations and lengths.count(length) > 2}
    rungs = geometric_rungs(num_evaluations, grace=1, factor=_RUNG_FACTOR)
    return (*sorted({*rungs, *common}), num_evaluations)


def _evidence(item: TrialObservation, last: Estimate | None, earlier: tuple[Estimate, ...]) -> Evidence:
    if item.state == "complete":
        return Evidence(item.row, item.losses[-1], finished=True, costs_C=item.costs_C, earlier=earlier)
    if item.state == "failed" or last is None:
        return Evidence(item.row, None, failed=item.state == "failed", costs_C=item.costs_C)
    return Evidence(item.row, last.mean, last.sd, costs_C=item.costs_C, earlier=earlier)
