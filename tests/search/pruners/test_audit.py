"""The audit: decisions by hand, and a search that continues or ends because of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from depthweave.search.pruners.audit import audit_reached_front
from depthweave.search.pruners.chooser import NEW, TrialSnapshot
from tests.search.choosers import GivesUp
from tests.search.ledger_runs import Run
from tests.search.test_pausing import run_to_end


def complete(number: int, loss: float, cost: float) -> TrialSnapshot:
    return TrialSnapshot(number, f"id{number}", {"latency": cost}, (loss + 1.0, loss), "complete")


def test_audit_counts_only_if_its_trial_ends_on_the_front() -> None:
    others = [complete(0, 2.0, 1.0), complete(1, 1.0, 2.0)]
    beaten, better = complete(2, 2.5, 1.5), complete(2, 1.5, 1.5)
    assert not audit_reached_front([*others, beaten], audits=[2])
    assert audit_reached_front([*others, better], audits=[2])
    assert not audit_reached_front([*others, better], audits=[]), "it was no audit"
    assert not audit_reached_front([*others, better._replace(state="paused")], audits=[2]), "it has not ended"
    assert not audit_reached_front([], audits=[2])


@pytest.mark.parametrize("num_workers", [1, 3])
def test_search_resumes_other_trials_if_an_audited_one_reaches_the_front(num_workers: int, tmp_path: Path) -> None:
    # All cost the same, and the losses of ranks 0 to 3 end at 4.2, 1.55, 2.9 and 4.25: the audited one is the best.
    run = Run(tmp_path, chooser=GivesUp(), max_trials=4, max_concurrent=num_workers)
    run_to_end(run, num_workers=num_workers)
    records = sorted(run.store.records(), key=lambda item: item.trial)
    assert [item.state for item in records] == ["complete"] * 4
    assert [item.audit for item in records] == [False, True, False, False]


def test_search_ends_if_the_audited_trial_is_dominated(tmp_path: Path) -> None:
    class GivesUpOnTheWorst(GivesUp):
        def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
            if not may_start and snapshots[1].state == "paused":
                return 1
            audited = [item for item in snapshots if item.number == 3 and item.state == "complete"]
            return NEW if may_start else (2 if audited else None)

        def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
            return [3]

    run = Run(tmp_path, chooser=GivesUpOnTheWorst(), max_trials=4)
    run_to_end(run)
    records = sorted(run.store.records(), key=lambda item: item.trial)
    assert [item.state for item in records] == ["complete", "complete", "pruned", "complete"]
    assert [item.audit for item in records] == [False, False, False, True]
    assert Run(tmp_path, chooser=GivesUpOnTheWorst(), max_trials=4).ledger.ended
