"""One trial of each fusion is trained to its end, however it begins.

What a surrogate expects of a fusion without a complete trial follows from other fusions, whose curves may fall
differently. A forecast from a first rung may then give up a fusion that would be on the front. The fusions wait until
eight trials for each have begun: by then the search has completed most of them by itself (docs/log/search.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from depthweave.search.pruners.chooser import TrialSnapshot

TRIALS_A_FUSION = 8
"""Trials of the search for each fusion that it tried, before the rule holds."""


def first_of_its_fusion(snapshots: Sequence[TrialSnapshot]) -> int | None:
    """Returns the number of a paused trial whose fusion has no complete trial, and none that is being trained to its
    end; of a fusion the furthest, then the best, and the fusion that was tried first.

    `None` where there is none, in the beginning, or where fusions are not known.
    """
    trials: dict[str, list[TrialSnapshot]] = defaultdict(list)
    for item in snapshots:
        if item.fusion:
            trials[item.fusion].append(item)
    if len(snapshots) < TRIALS_A_FUSION * len(trials):
        return None
    for own in trials.values():
        # A running trial with a loss was resumed.
        if any(item.state == "complete" or (item.state == "running" and item.losses) for item in own):
            continue
        paused = [item for item in own if item.state == "paused"]
        if paused:
            return min(paused, key=lambda item: (-len(item.losses), item.losses[-1], item.number)).number
    return None
