"""What an audit of the hopeless shows: whether they were hopeless.

A trial that the chooser gave up and that runs to its end all the same should be beaten. One that ends on the front had
more of a chance than it was given, and so may others that were given up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import moocore
import numpy as np

from depthweave.search.pruners.chooser import TrialSnapshot


def surprises(snapshots: Sequence[TrialSnapshot], *, audits: Collection[int]) -> bool:
    """Whether an audited trial has ended on the front of the complete ones: then the chooser is asked again."""
    complete = [item for item in snapshots if item.state == "complete"]
    names = max((list(item.costs) for item in complete), key=len, default=[])
    points = [[item.losses[-1], *(item.costs.get(name, np.inf) for name in names)] for item in complete]
    if not any(item.number in audits for item in complete):
        return False
    on_front = moocore.is_nondominated(np.array(points))
    return any(kept and item.number in audits for item, kept in zip(complete, on_front, strict=True))
