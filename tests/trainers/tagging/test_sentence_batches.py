"""Batches of sentences: every sentence once a pass, nothing lost in batches of an evaluation, padding hidden."""

from __future__ import annotations

import numpy as np

from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.sentence_batches import (
    evenly_spaced,
    length_batches,
    packed,
    padded,
    training_rows,
)

_STARTS = np.array([0, 3, 4, 9, 11, 11, 18])
_ALL = np.arange(6)


def test_training_rows_hold_every_sentence_once_a_pass() -> None:
    rows = np.array([4, 7, 9, 12, 30])
    recipe = Recipe(batch=3, seed=5)
    drawn = np.concatenate([training_rows(rows, recipe=recipe, step=step) for step in range(10)])
    for number in range(6):
        assert sorted(drawn[5 * number : 5 * number + 5]) == rows.tolist()
    assert len({tuple(drawn[5 * number : 5 * number + 5]) for number in range(6)}) > 1


def test_training_rows_depend_on_seed_and_step_alone() -> None:
    first = training_rows(_ALL, recipe=Recipe(batch=4, seed=1), step=7)
    assert first.tolist() == training_rows(_ALL, recipe=Recipe(batch=4, seed=1, learning_rate=1.0), step=7).tolist()
    others = [training_rows(_ALL, recipe=Recipe(batch=4, seed=seed), step=7).tolist() for seed in range(2, 8)]
    assert any(first.tolist() != other for other in others)


def test_a_batch_can_be_larger_than_the_draw() -> None:
    drawn = training_rows(np.array([2, 5]), recipe=Recipe(batch=5), step=0)
    assert sorted(drawn[:4]) == [2, 2, 5, 5]


def test_length_batches_hold_every_sentence_once_and_keep_to_the_bound() -> None:
    batches = length_batches(_STARTS, _ALL, max_tokens=6)
    assert sorted(np.concatenate(batches).tolist()) == _ALL.tolist()
    lengths = [(_STARTS[rows + 1] - _STARTS[rows]) for rows in batches]
    assert lengths[0].tolist() == [7]
    assert all(len(item) * item.max() <= 6 for item in lengths[1:])
    ordered = np.concatenate(lengths)
    assert (np.diff(ordered) <= 0).all()


def test_padded_has_the_tokens_of_each_sentence_and_hides_the_rest() -> None:
    places = padded(_STARTS, np.array([0, 2, 4]))
    assert places.mask_BT.sum(axis=1).tolist() == [3, 5, 0]
    assert places.positions_BT.tolist() == [[0, 1, 2, 0, 0], [4, 5, 6, 7, 8], [0, 0, 0, 0, 0]]


def test_packed_has_the_wanted_tokens_in_one_line() -> None:
    wanted = np.arange(18) % 2 == 1
    places = packed(_STARTS, np.array([2, 0]), wanted=wanted)
    assert places.positions_BT.tolist() == [[5, 7, 1]]
    assert places.mask_BT.all()


def test_evenly_spaced_takes_all_where_they_fit_and_spreads_the_rest() -> None:
    assert evenly_spaced(_STARTS, _ALL, max_tokens=18).tolist() == _ALL.tolist()
    assert evenly_spaced(_STARTS, _ALL, max_tokens=9).tolist() == [0, 2, 5]
    assert len(evenly_spaced(_STARTS, _ALL, max_tokens=1)) == 1
