"""Pruning regret: by hand, and told in words."""

from __future__ import annotations

import dataclasses

import pytest

from depthweave.reports.records import Record
from depthweave.reports.regret import pruning_regret, regret_sentence
from tests.reports.synthetic import make_record

OBJECTIVES = ("perplexity", "latency")


def point(trial: int, perplexity: float, latency: float, *, audit: bool = False) -> Record:
    return make_record(
        trial, architecture_id=f"{trial:012x}", perplexity=perplexity, latency=latency, state="complete", audit=audit
    )


def stopped(trial: int) -> Record:
    return make_record(trial, architecture_id=f"{trial:012x}", state="pruned", perplexity=None, loss=None)


def test_gain_of_an_audited_trial_by_hand() -> None:
    # Perplexity 1 to 3 and latency 1 to 3: the corner is at 3.2, 3.2. (1, 3) and (3, 1) cover 2.2 x 0.2 twice less
    # 0.2 x 0.2; (2, 2) adds 1.2 x 1.2 less the two corners it shares, 0.2 x 1.2 twice less 0.2 x 0.2.
    kept = [point(0, 1.0, 3.0), point(1, 3.0, 1.0)]
    found = pruning_regret([*kept, point(2, 2.0, 2.0, audit=True), stopped(3), stopped(4)], objectives=OBJECTIVES)
    assert found is not None
    without = 2 * 2.2 * 0.2 - 0.2 * 0.2
    gained = 1.2 * 1.2 - 2 * 0.2 * 1.2 + 0.2 * 0.2
    assert found[:3] == (3, 1, 1)
    assert found.gained_frac == pytest.approx(gained / (without + gained))
    told = regret_sentence(found)
    assert "of 3 trials that it gave up, 1 ran to the end all the same; 1 of them reached the front" in told


def test_an_audit_that_finds_nothing_says_so_and_no_audit_says_nothing() -> None:
    kept = [point(0, 1.0, 3.0), point(1, 3.0, 1.0)]
    found = pruning_regret([*kept, point(2, 3.5, 3.5, audit=True)], objectives=OBJECTIVES)
    assert found is not None
    assert (found.num_on_front, found.gained_frac) == (0, pytest.approx(0.0))
    assert "no regret was found" in regret_sentence(found)
    assert pruning_regret([*kept, stopped(2)], objectives=OBJECTIVES) is None
    assert regret_sentence(None) == ""
    # One that crashed while it was audited tells nothing.
    failed = dataclasses.replace(stopped(3), state="failed", audit=True)
    assert pruning_regret([*kept, failed], objectives=OBJECTIVES) is None
