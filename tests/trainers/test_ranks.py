"""A training that several processes share equals that of one: same batches, same losses, same weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import multiprocessing

from depthweave.trainers.batches import draw_batch
from depthweave.trainers.language_model import TrainingState, train
from depthweave.trainers.ranks import Ranks, check_shares
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tokens import TokenSet
from tests.trainers.conftest import small_architecture


def test_processes_have_together_the_batch_of_one(tokens: TokenSet, recipe: Recipe) -> None:
    place = torch.device("cpu")
    whole = draw_batch(tokens.train, recipe=recipe, step=7, device=place)
    shares = [
        draw_batch(tokens.train, recipe=recipe, step=7, device=place, ranks=Ranks(rank=rank, count=2))
        for rank in range(2)
    ]
    assert torch.equal(torch.cat([share.tokens_BT for share in shares]), whole.tokens_BT)
    assert torch.equal(torch.cat([share.targets_BT for share in shares]), whole.targets_BT)


@pytest.mark.parametrize(("batch", "count", "near"), [(16, 3, "15 or 18"), (2, 4, "such as 4")])
def test_batch_without_equal_shares_is_refused(recipe: Recipe, batch: int, count: int, near: str) -> None:
    with pytest.raises(ValueError, match=near):
        check_shares(dataclasses.replace(recipe, batch=batch), count=count)
    check_shares(dataclasses.replace(recipe, batch=batch), count=1)


def test_two_processes_train_as_one(tokens: TokenSet, recipe: Recipe, tmp_path: Path) -> None:
    # Dynamic weights, and a validation part of more batches than processes, and of fewer.
    cases = [_Case("dwatt", period=3, evaluation_tokens=128), _Case("dwa", period=1, evaluation_tokens=16)]
    states = [case.start(recipe) for case in cases]
    expected = [[(item.loss, item.train_loss) for item in train(state, tokens)] for state in states]

    multiprocessing.spawn(_train_shares, args=(cases, recipe, tokens, tmp_path), nprocs=2)
    for number in range(len(cases)):
        first, second = (torch.load(tmp_path / f"{number}-{rank}.pt", weights_only=True) for rank in range(2))
        assert np.abs(np.array(first["losses"]) - expected[number]).max() < 1e-5
        assert first["losses"] == second["losses"]
        # Equal, not only close: otherwise they would drift apart.
        assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())


class _Case(NamedTuple):
    fusion: str
    period: int
    evaluation_tokens: int

    def start(self, recipe: Recipe) -> TrainingState:
        recipe = dataclasses.replace(recipe, steps=50, evaluation_tokens=self.evaluation_tokens)
        return TrainingState.start(small_architecture(self.fusion, period=self.period), recipe=recipe, device="cpu")


def _train_shares(rank: int, cases: list[_Case], recipe: Recipe, tokens: TokenSet, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    for number, case in enumerate(cases):
        state = case.start(recipe)
        losses = [(item.loss, item.train_loss) for item in train(state, tokens, ranks=Ranks(rank=rank, count=2))]
        torch.save({"losses": losses, "model": state.model.state_dict()}, folder / f"{number}-{rank}.pt")
    torch.distributed.destroy_process_group()
