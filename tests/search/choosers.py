"""Simple choosers, whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from depthweave.search.pruners.chooser import NEW, TrialSnapshot


class Turns:
    """Starts everything, then continues the trial with the fewest evaluations, until all are complete."""

    def is_rung(self, evaluation: int) -> bool:
        return True

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        if may_start:
            return NEW
        paused = [item for item in snapshots if item.state == "paused"]
        return min(paused, key=lambda item: (len(item.losses), item.number)).number if paused else None

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        return ()


class Halving:
    """Successive halving: after evaluations 1 and 2 the better half of the trials so far, rounded up, continues.

    Trials at the later rung come first, new trials last. At the end the worst paused trial is audited.
    """

    def is_rung(self, evaluation: int) -> bool:
        return evaluation in (1, 2)

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        for rung in (2, 1):
            there = [item for item in snapshots if len(item.losses) >= rung]
            there.sort(key=lambda item: item.losses[rung - 1])
            for item in there[: (len(there) + 1) // 2]:
                # A single trial has none to compare with.
                if len(there) > 1 and item.state == "paused" and len(item.losses) == rung:
                    return item.number
        return NEW if may_start else None

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        paused = [item for item in snapshots if item.state == "paused"]
        return [max(paused, key=lambda item: item.losses[-1]).number] if paused else []


class GivesUp:
    """Stops all after one evaluation, audits trial 1, and continues the others once the audit is complete."""

    def is_rung(self, evaluation: int) -> bool:
        return evaluation == 1

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        if may_start:
            return NEW
        paused = [item.number for item in snapshots if item.state == "paused"]
        audited = [item for item in snapshots if item.number == 1 and item.state == "complete"]
        return paused[0] if audited and paused else None

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        return [1] if any(item.number == 1 and item.state == "paused" for item in snapshots) else []
