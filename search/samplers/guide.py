"""What the surrogate tells a chooser: how paused trials will end, and what the best new candidate promises.

Sampler and pruner are one decision so: a free worker goes on with a paused trial or opens the candidate that the
sampler would propose, whichever promises more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from depthweave.search.pruners.chooser import GuideView, NewTrialOutlook, TrialSnapshot
from depthweave.search.surrogate.candidates import Candidates
from depthweave.search.surrogate.evidence import TrialObservation, evidence_of
from depthweave.search.surrogate.posterior import candidate_posterior, known_costs


class SurrogateGuide:
    """A `Guide` of the candidates that a `known-cost` sampler proposes."""

    def __init__(self, candidates: Candidates, *, rows: Mapping[str, int]) -> None:
        """`rows`: the candidate of each architecture id."""
        self._candidates, self._rows = candidates, rows

    def advise(self, snapshots: Sequence[TrialSnapshot]) -> GuideView | None:
        """What is expected of every trial and of the best new one; `None` while too little is known."""
        names = max((list(item.costs) for item in snapshots), key=len, default=[])
        told = [
            TrialObservation(
                row=self._rows[item.architecture_id],
                losses=item.losses,
                state="complete" if item.state == "complete" else "unfinished",
                costs_C=tuple(item.costs.get(name, math.nan) for name in names) if item.costs else None,
            )
            for item in snapshots
        ]
        evidence = evidence_of(told)
        costs = known_costs(self._candidates, evidence)
        seen = candidate_posterior(self._candidates, evidence, costs=costs)
        if seen is None:
            return None
        gains_N = seen.gains_N.copy()
        gains_N[[item.row for item in told]] = -1.0
        best = int(np.argmax(gains_N))
        rows = np.array([*(item.row for item in told), best], dtype=np.intp)
        sd_N = seen.sd_N[rows] * seen.widening(rows)
        pairs = zip(seen.mean_N[rows].tolist(), sd_N.tolist(), strict=True)
        forecasts = {item.number: pair for item, pair in zip(snapshots, pairs, strict=False)}
        if gains_N[best] < 0.0:
            return GuideView(forecasts, None)
        new_costs = dict(zip(names, costs.costs_NC[best].tolist(), strict=True))
        return GuideView(forecasts, NewTrialOutlook(float(seen.mean_N[best]), float(sd_N[-1]), new_costs))
