"""Errors of a tagger on parts of a text."""

from __future__ import annotations

import random

import numpy as np
import pytest

from depthweave.trainers.tagging.entity_score import score
from depthweave.trainers.tagging.few_shot_parts import MAX_PARTS, part_errors


def _sentences(seed: int, num: int) -> list[list[str]]:
    draw = random.Random(seed)
    return [[draw.choice(["O", "O", "B-x", "I-x", "B-y"]) for _ in range(draw.randint(1, 6))] for _ in range(num)]


@pytest.mark.parametrize("num", [1, 5, 64, 150])
def test_mean_over_the_parts_is_the_error_on_the_whole(num: int) -> None:
    gold = _sentences(0, num)
    predicted = [[tag if number % 3 else "O" for tag in tags] for number, tags in enumerate(gold)]
    errors = part_errors(gold, predicted)
    assert len(errors) == min(num, MAX_PARTS)
    assert np.mean(errors) == pytest.approx(1.0 - score(gold, predicted).f1)


def test_shares_of_two_parts_by_hand() -> None:
    # Part 1 has one right of one and one; part 2 has none right of two predicted and no gold entity.
    gold = [["B-x"], ["O", "O"]]
    predicted = [["B-x"], ["B-x", "B-x"]]
    # F1 = 2 / (3 + 1) = 0.5; the mean of p + g is 2.
    assert part_errors(gold, predicted) == pytest.approx((1 - 0.5 - (2 - 1) / 2, 1 - 0.5 - (0 - 1) / 2))


def test_without_entities_there_are_no_parts() -> None:
    assert part_errors([["O"]], [["O"]]) == ()
    assert part_errors([], []) == ()


def test_variance_of_the_shares_is_that_of_f1_over_texts() -> None:
    # The linear shares predict how much F1 varies between texts of the same kind.
    texts = [_sentences(seed, 400) for seed in range(60)]
    draw = random.Random(1)
    guesses = [[[tag if draw.random() < 0.7 else "O" for tag in tags] for tags in text] for text in texts]
    seen = np.std([score(gold, own).f1 for gold, own in zip(texts, guesses, strict=True)])
    predicted = np.mean(
        [np.std(part_errors(gold, own), ddof=1) / np.sqrt(64) for gold, own in zip(texts, guesses, strict=True)]
    )
    assert predicted == pytest.approx(seen, rel=0.3)
