"""The guide from the sampler's surrogate to a chooser: forecasts of all trials, and the outlook of the best candidate.

With it, sampler and pruner decide together: a free worker resumes a paused trial or starts the candidate that the
sampler would propose, whichever is expected to improve the front more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from depthweave.search.pruners.chooser import GuideView, NewTrialOutlook, TrialSnapshot
from depthweave.search.surrogate.evidence import TrialObservation, evidence_of
from depthweave.search.surrogate.pool import NO_ROW, Pool, PoolTrial
from depthweave.search.surrogate.posterior import candidate_posterior, known_costs


class SurrogateGuide:
    """A `Guide` by the surrogate of the sampler `known-cost`."""

    def __init__(self, pool: Pool) -> None:
        """The pool's keys are architecture ids."""
        self._pool = pool

    def advise(self, snapshots: Sequence[TrialSnapshot]) -> GuideView | None:
        """Returns what is expected of every trial and of the best new one; `None` with too little evidence."""
        names = max((list(item.costs) for item in snapshots), key=len, default=[])
        observations = [
            TrialObservation(
                row=NO_ROW,
                losses=item.losses,
                state="complete" if item.state == "complete" else "unfinished",
                costs_C=tuple(item.costs.get(name, math.nan) for name in names) if item.costs else None,
            )
            for item in snapshots
        ]
        known = [
            PoolTrial(item.number, item.architecture_id, found)
            for item, found in zip(snapshots, evidence_of(observations), strict=True)
        ]
        candidates, row_of = self._pool.view(known)
        evidence = [item.evidence._replace(row=row_of[item.key]) for item in known]
        costs = known_costs(candidates, evidence)
        posterior = candidate_posterior(candidates, evidence, costs=costs)
        if posterior is None:
            return None
        gains_N = posterior.gains_N.copy()
        gains_N[[item.row for item in evidence]] = -1.0
        best = int(np.argmax(gains_N))
        rows = np.array([*(item.row for item in evidence), best], dtype=np.intp)
        sd_N = posterior.sd_N[rows] * posterior.calibration(rows)
        pairs = zip(posterior.mean_N[rows].tolist(), sd_N.tolist(), strict=True)
        forecasts = {item.number: pair for item, pair in zip(snapshots, pairs, strict=False)}
        if gains_N[best] < 0.0:
            return GuideView(forecasts, None, posterior.is_prior)
        new_costs = dict(zip(names, costs.costs_NC[best].tolist(), strict=True))
        new = NewTrialOutlook(float(posterior.mean_N[best]), float(sd_N[-1]), new_costs)
        return GuideView(forecasts, new, posterior.is_prior)
