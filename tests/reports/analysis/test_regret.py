"""Pruning regret: values by hand, and its sentence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from depthweave.reports.analysis.regret import Regret, most_marked, pruning_regret, regret_sentence
from depthweave.reports.store.records import Record
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
    text = regret_sentence(found)
    assert "of 3 trials that it gave up, 1, drawn at random, ran to the end; 1 of them reached" in text
    assert text.endswith(
        "Of the 2 that did not, up to 2 may have belonged there (95 % confidence): "
        "no tighter bound follows from 1 audited trial."
    )


def test_an_audit_that_finds_nothing_says_so_and_no_audit_says_nothing() -> None:
    kept = [point(0, 1.0, 3.0), point(1, 3.0, 1.0)]
    found = pruning_regret([*kept, point(2, 3.5, 3.5, audit=True)], objectives=OBJECTIVES)
    assert found is not None
    assert (found.num_on_front, found.gained_frac) == (0, pytest.approx(0.0))
    assert regret_sentence(found).endswith(
        "none of them reached the front. All of them ran to the end, so nothing is unknown."
    )
    assert pruning_regret([*kept, stopped(2)], objectives=OBJECTIVES) is None
    assert regret_sentence(None) == ""
    # One that crashed while it was audited tells nothing.
    failed = dataclasses.replace(stopped(3), state="failed", audit=True)
    assert pruning_regret([*kept, failed], objectives=OBJECTIVES) is None


def test_one_audited_trial_of_six_says_little() -> None:
    """It was once taken to say that no regret was found."""
    text = regret_sentence(Regret(num_given_up=6, num_audited=1, num_on_front=0, gained_frac=0.0))
    assert "no regret" not in text
    assert "Of the 5 that did not, up to 5 may have belonged there (95 % confidence): no tighter" in text
    much = regret_sentence(Regret(num_given_up=1000, num_audited=59, num_on_front=0, gained_frac=0.0))
    assert "Of the 941 that did not, up to 48 may have belonged there (95 % confidence), 5 %." in much


@pytest.mark.parametrize(
    ("total", "drawn", "found", "most"),
    # By hand: with M marked of 6, one drawn is unmarked in (6 - M) of 6; two of four drawn in C(4-M, 2) of 6.
    [(6, 1, 0, 5), (4, 2, 0, 2), (3, 3, 1, 1), (5, 0, 0, 5), (6, 1, 1, 6)],
)
def test_most_marked_by_hand(total: int, drawn: int, found: int, most: int) -> None:
    assert most_marked(total, drawn=drawn, found=found) == most


def test_most_marked_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="3 found of 2 drawn of 9"):
        most_marked(9, drawn=2, found=3)


@pytest.mark.parametrize("total", [6, 20, 120, 400])
def test_bound_of_the_regret_covers_at_least_nominally(total: int) -> None:
    """Whatever the share that belongs on the front: the bound is at least the truth in 95 % of draws."""
    rng = np.random.default_rng(total)
    for share in (0.02, 0.1, 0.3, 0.6):
        marked, drawn = round(share * total), max(1, round(0.05 * total))
        found = rng.hypergeometric(marked, total - marked, drawn, size=4_000)
        bounds = {int(item): most_marked(total, drawn=drawn, found=int(item)) for item in np.unique(found)}
        assert np.mean([bounds[int(item)] >= marked for item in found]) >= 0.95 - 0.01
