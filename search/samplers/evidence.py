"""From what trials reported to what the surrogate may believe: final losses, and forecasts of those that are not known.

A study with its curves (the sampler's view) and the standings of a search (the chooser's) come to the same evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from depthweave.search.pruners.forecast import fit_links, forecast_final
from depthweave.search.samplers.surrogate import Evidence


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
    forecasts: dict[int, tuple[float, float]] = {}
    if num_evaluations > 1:
        losses_TR = np.full((len(begun), num_evaluations), np.nan)
        for row, place in enumerate(begun):
            losses_TR[row, : len(trials[place].losses)] = trials[place].losses[:num_evaluations]
        found = forecast_final(fit_links(losses_TR, evaluations=range(1, num_evaluations + 1)), losses_TR)
        forecasts = dict(zip(begun, zip(found.mean_T.tolist(), found.sd_T.tolist(), strict=True), strict=True))
    return [_weighed(item, forecasts.get(place)) for place, item in enumerate(trials)]


def _weighed(item: Told, forecast: tuple[float, float] | None) -> Evidence:
    if item.state == "complete":
        return Evidence(item.row, item.losses[-1], finished=True, costs_C=item.costs_C)
    if item.state == "failed" or forecast is None:
        return Evidence(item.row, None, failed=item.state == "failed", costs_C=item.costs_C)
    return Evidence(item.row, forecast[0], forecast[1], costs_C=item.costs_C)
