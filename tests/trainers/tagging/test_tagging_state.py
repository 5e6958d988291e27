"""States of the training of a head: plain content, one line for a bad file, and the host only where it is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from depthweave.spaces.checksums import checksum_path
from depthweave.spaces.heads import HEADS
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.tagging_state import TAG_RECIPES, TaggingState, head_recipe
from tests.trainers.tagging.tiny_host import shape_of


@pytest.fixture
def state(host: Host, tag_recipe: Recipe) -> TaggingState:
    return TaggingState.start(shape_of("dwatt", host), recipe=tag_recipe, host_sha256=host.sha256, device="cpu")


def test_save_then_load_keeps_shape_recipe_and_counts(state: TaggingState, tmp_path: Path) -> None:
    state.step, state.train_s, state.evaluation_s, state.num_losses = 5, 1.5, 0.25, 1
    state.loss_sum += 3.0
    state.save(tmp_path / "new" / "state.pt")
    again = TaggingState.load(tmp_path / "new" / "state.pt", device="cpu")
    assert (again.shape, again.recipe, again.host_sha256) == (state.shape, state.recipe, state.host_sha256)
    assert (again.step, again.train_s, again.evaluation_s, again.num_losses) == (5, 1.5, 0.25, 1)
    assert again.loss_sum.item() == 3.0
    assert isinstance(torch.load(tmp_path / "new" / "state.pt", weights_only=True), dict)


def test_groups_have_the_decay_and_the_factors_of_the_recipe(host: Host, tag_recipe: Recipe) -> None:
    recipe = dataclasses.replace(tag_recipe, connection_lr_factor=3.0)
    state = TaggingState.start(
        shape_of("dwatt", host),
        recipe=recipe,
        host_sha256=host.sha256,
        host=host,
        weights="full",
        host_lr_factor=0.5,
        device="cpu",
    )
    found = [(group["weight_decay"], group["lr_factor"]) for group in state.optimizer.param_groups]
    assert found == [(0.1, 1.0), (0.0, 1.0), (0.0, 3.0), (0.1, 0.5), (0.0, 0.5)]
    assert state.host_model is not None
    num_host = sum(parameter.requires_grad for parameter in state.host_model.parameters())
    assert len(state.parameters()) == num_host + sum(1 for _ in state.head.parameters())


def test_bad_files_are_one_line(state: TaggingState, host: Host, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    state.save(path)
    values = torch.load(path, weights_only=True)
    checksum_path(path).unlink()
    for name, value in (("head", {}), ("recipe", {"evil": 1}), ("step", "1"), ("shape", {}), ("weights", "lora")):
        torch.save({**values, name: value}, path)
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            TaggingState.load(path, device="cpu")
    torch.save({**values, "format": 99}, path)
    with pytest.raises(ValueError, match="has format 99"):
        TaggingState.load(path, device="cpu")


def test_a_trained_host_must_be_given_and_be_the_same(host: Host, tag_recipe: Recipe, tmp_path: Path) -> None:
    shape = shape_of("last", host)
    with pytest.raises(ValueError, match="the host is missing or another one"):
        TaggingState.start(shape, recipe=tag_recipe, host_sha256=host.sha256, weights="full", device="cpu")
    state = TaggingState.start(
        shape, recipe=tag_recipe, host_sha256=host.sha256, host=host, weights="full", device="cpu"
    )
    state.save(tmp_path / "state.pt")
    with pytest.raises(ValueError, match="the host is missing or another one"):
        TaggingState.load(tmp_path / "state.pt", host=dataclasses.replace(host, sha256="1"), device="cpu")


def test_compiling_is_refused(host: Host, tag_recipe: Recipe) -> None:
    recipe = dataclasses.replace(tag_recipe, compile=True)
    with pytest.raises(ValueError, match=r"recipe\.compile is true"):
        TaggingState.start(shape_of("last", host), recipe=recipe, host_sha256=host.sha256, device="cpu")


def test_default_recipes_are_for_sentences() -> None:
    for recipe in TAG_RECIPES.values():
        assert recipe.evaluation_steps()[-1] == recipe.steps
        assert recipe.context <= 512


def test_each_head_has_its_own_learning_rate_on_a_frozen_host(tag_recipe: Recipe) -> None:
    rates = {kind: head_recipe(tag_recipe, kind=kind, weights="frozen").learning_rate for kind in HEADS}
    assert rates["last"] > rates["dwa"] > rates["deeper"] > rates["concat"] > 0.0
    assert head_recipe(tag_recipe, kind="last", weights="full") == tag_recipe
