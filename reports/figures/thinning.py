"""Which points off the front are drawn where there are thousands: a page of them all would weigh tens of megabytes."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from depthweave.reports.records import Record

MAX_FAINT = 1500
"""Records off the front that a figure shows."""


def thinned(records: Sequence[Record], *, on_front: Collection[int]) -> list[Record]:
    """All of the front and the reference, and at most 1,500 others, evenly chosen in the order given."""
    kept = {record.trial for record in records if record.trial in on_front or record.reference}
    others = [record.trial for record in records if record.trial not in kept]
    kept.update(others[:: math.ceil(len(others) / MAX_FAINT) or 1])
    return [record for record in records if record.trial in kept]
