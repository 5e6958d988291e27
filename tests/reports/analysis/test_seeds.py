"""Several seeds become one point."""

from __future__ import annotations

import dataclasses
import math

import pytest

from depthweave.reports.analysis.front import front, may_be_on_front
from depthweave.reports.analysis.seeds import (
    FIRST_CONFIRMATION,
    averaged,
    confirming,
    estimated_ids,
    fresh_records,
    losses_by_seed,
    searched,
)
from tests.reports.confirmed import PAIR, confirmed_records, seeded
from tests.reports.synthetic import make_record, synthetic_trials


def test_averaged_of_one_seed_each_is_the_records_themselves() -> None:
    records = [trial.record for trial in synthetic_trials()]
    assert averaged(records) == records


def test_averaged_stands_at_the_mean_of_fresh_losses_with_the_costs_of_the_search() -> None:
    first, *fresh = seeded("a", {0: 1.0, 1: 1.2, 2: 1.4}, trial=3, latency=1.1)
    (point,) = averaged([first, *(dataclasses.replace(item, latency=9.0) for item in fresh)])
    assert (point.trial, point.seed, point.latency) == (3, 0, 1.1)
    assert point.loss == pytest.approx(1.3)
    assert point.perplexity == pytest.approx(math.sqrt(math.exp(1.2) * math.exp(1.4)))
    assert point.bits_per_byte == pytest.approx(1.3 / math.log(2))


def test_architecture_that_had_only_the_easy_seed_gains_nothing_by_it() -> None:
    # Seed 0 is easier by 1 nat for all of this size. That seed alone would put `late` far ahead of both means.
    records = [
        *seeded("a", {0: 1.0, 1: 2.0}, trial=0),
        *seeded("b", {0: 1.1, 1: 2.1}, trial=1),
        *seeded("late", {0: 1.2}, trial=2),
    ]
    losses = {point.architecture_id: point.loss for point in averaged(records)}
    assert losses == pytest.approx({"a": 2.0, "b": 2.1, "late": 2.2})


def test_loss_without_fresh_seeds_is_an_estimate_where_the_others_moved() -> None:
    records = confirmed_records()
    assert estimated_ids(records) == {"once"}
    assert estimated_ids([item for item in records if item.trial < FIRST_CONFIRMATION]) == set()
    estimate = next(item for item in averaged(records) if item.architecture_id == "once")
    # Its own loss of 1.70 and the mean move of the three that were confirmed.
    assert estimate.loss == pytest.approx(1.70 + (0.008 + 0.024 + 0.019) / 3, abs=1e-9)


def test_confirmation_replaces_what_the_search_stopped() -> None:
    stopped = make_record(0, architecture_id="a", state="pruned", perplexity=None, loss=None)
    other = make_record(1, architecture_id="b", state="pruned", perplexity=None, loss=None)
    trained = [
        dataclasses.replace(item, trial=FIRST_CONFIRMATION + seed)
        for seed, item in enumerate(seeded("a", {0: 1.2, 1: 1.3}, trial=0))
    ]
    points = averaged([stopped, other, *trained])
    assert [(point.trial, point.state) for point in points] == [(1, "pruned"), (FIRST_CONFIRMATION, "complete")]


def test_front_and_may_be_on_front_hold_an_architecture_once() -> None:
    records = confirmed_records()
    members = front(records, objectives=PAIR)
    assert [(item.architecture_id, item.trial) for item in members] == [("best", 1), ("close", 2), ("plain", 0)]
    ids = [item.architecture_id for item in may_be_on_front(records, objectives=PAIR)]
    assert len(set(ids)) == len(ids)


def test_searched_and_confirming_part_the_records() -> None:
    records = confirmed_records()
    assert [item.trial for item in searched(records)] == [0, 1, 2, 3]
    assert {item.seed for item in confirming(records)} == {1, 2, 3, 4, 5}
    assert losses_by_seed(records)["best"][0] == 1.28
    assert {item.seed for item in fresh_records(records)} == {1, 2, 3, 4, 5}


def test_seed_effect_of_one_size_is_not_taken_out_of_another() -> None:
    """Seed 0 is easier by 1 nat at 12 blocks, and harder by 1 nat at 6: each is judged by its own."""
    records = [
        *seeded("a", {0: 1.0, 1: 2.0}, trial=0),
        *seeded("b", {0: 1.1, 1: 2.1}, trial=1),
        *seeded("shallow", {0: 3.0, 1: 2.0}, trial=2, depth=6),
        *seeded("shallower", {0: 3.1, 1: 2.1}, trial=3, depth=6),
        *seeded("late", {0: 3.2}, trial=4, depth=6),
    ]
    losses = {point.architecture_id: point.loss for point in averaged(records)}
    assert losses == pytest.approx({"a": 2.0, "b": 2.1, "shallow": 2.0, "shallower": 2.1, "late": 2.2})


def test_seed_of_the_search_is_never_fresh() -> None:
    """A baseline that the search stopped was once trained again with the search's own seed."""
    plain = dataclasses.replace(seeded("plain", {0: 1.5}, trial=0)[0], trial=FIRST_CONFIRMATION)
    assert fresh_records([*seeded("a", {0: 1.2, 1: 1.3}, trial=1), plain]) == seeded("a", {1: 1.3}, trial=1)
