"""The audit of a chooser: whether a trial that it gave up would have reached the front.

An audited trial is trained to its end although the chooser gave it up. If it ends on the front, the chooser
underestimated it, and may have underestimated other trials too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import moocore
import numpy as np

from depthweave.search.pruners.chooser import TrialSnapshot


def audit_reached_front(snapshots: Sequence[TrialSnapshot], *, audits: Collection[int]) -> bool:
    """Returns whether an audited trial is complete and on the front. The chooser is then asked again."""
    complete = [item for item in snapshots if item.state == "complete"]
    names = max((list(item.costs) for item in complete), key=len, default=[])
    points = [[item.losses[-1], *(item.costs.get(name, np.inf) for name in names)] for item in complete]
    if not any(item.number in audits for item in complete):
        return False
    on_front = moocore.is_nondominated(np.array(points))
    return any(kept and item.number in audits for item, kept in zip(complete, on_front, strict=True))
