"""Language modelling as a task equals the functions behind it, and the registry suggests the nearest name."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from depthweave.spaces import Architecture
from depthweave.trainers import HeldOutLoss, Recipe, TokenSet, TrainingState, train
from depthweave.trainers.device_lock import UNSHARED
from depthweave.trainers.tasks import TASKS, task_of

TASK = task_of("language_modelling")


def test_language_modelling_trains_as_train_does(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture, tmp_path: Path
) -> None:
    state = TASK.start(architecture, recipe=recipe, device="cpu")
    ours = list(TASK.train(state, tokens, give_way=UNSHARED.give_way))
    theirs = list(train(TrainingState.start(architecture, recipe=recipe, device="cpu"), tokens))
    assert [item.loss for item in ours] == [item.loss for item in theirs]
    state.save(tmp_path / "state.pt")
    again = TASK.load_state(tmp_path / "state.pt", device="cpu")
    assert (again.architecture, again.step) == (architecture, recipe.steps)
    assert TASK.record_values(ours[-1]) == {
        "perplexity": ours[-1].perplexity,
        "bits_per_byte": ours[-1].bits_per_byte,
    }


def test_language_modelling_gives_the_perplexity_of_the_test_loss() -> None:
    values = TASK.test_values(HeldOutLoss(2.0, 3.0))
    assert values == {"test_loss": 2.0, "test_perplexity": math.exp(2.0), "test_bits_per_byte": 3.0}


def test_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="did you mean 'language_modelling'"):
        task_of("language_modeling")


def test_qualities_have_a_title_and_columns_of_their_own() -> None:
    for task in TASKS.values():
        assert task.quality.title
        assert len(set(task.quality.columns)) == len(task.quality.columns)
