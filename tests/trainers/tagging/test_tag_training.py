"""Training of heads: it learns, it repeats, an interrupted one equals an uninterrupted one, and misfits are refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from depthweave.spaces.heads import HEADS
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.tag_data import HostWeights, TagData
from depthweave.trainers.tagging.tag_evaluation import TagEvaluation, evaluate_tags
from depthweave.trainers.tagging.tag_training import held_out_tags, train_tags
from depthweave.trainers.tagging.tagging_state import TaggingState
from tests.trainers.tagging.tiny_host import shape_of


def _start(kind: str, host: Host, recipe: Recipe, *, weights: HostWeights = "frozen") -> TaggingState:
    return TaggingState.start(
        shape_of(kind, host), recipe=recipe, host_sha256=host.sha256, host=host, weights=weights, device="cpu"
    )


def _numbers(evaluations: Sequence[TagEvaluation]) -> list[tuple[Any, ...]]:
    return [(item.index, item.step, item.loss, item.train_loss, item.score) for item in evaluations]


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_learns_names_from_a_frozen_host(kind: str, data: TagData, host: Host, tag_recipe: Recipe) -> None:
    # Whole blocks want a smaller rate than the others, a lone classifier a larger one.
    rate = {"deeper": 0.01, "last": 0.1}.get(kind, 0.03)
    recipe = dataclasses.replace(tag_recipe, steps=120, learning_rate=rate, num_evaluations=2)
    first, last = train_tags(_start(kind, host, recipe), data)
    assert (first.step, last.step, last.index) == (60, 120, 1)
    assert last.loss < first.loss
    assert last.score is not None
    # The last state of a random host knows little of a word; without training no entity is right.
    assert last.score.f1 > 0.2


def test_a_host_that_is_trained_learns_more_than_its_head(full_data: TagData, host: Host, tag_recipe: Recipe) -> None:
    before = {name: item.clone() for name, item in host.model.state_dict().items()}
    recipe = dataclasses.replace(tag_recipe, steps=80, learning_rate=0.05, num_evaluations=1)
    state = _start("last", host, recipe, weights="full")
    (last,) = train_tags(state, full_data)
    assert last.score is not None
    assert last.score.f1 > 0.9
    assert state.host_model is not None
    moved = state.host_model.state_dict()
    # No state depends on the pooler.
    names = [name for name in moved if name.endswith("weight") and not name.startswith("pooler")]
    assert not any(torch.equal(moved[name], before[name]) for name in names)
    # It was a copy: the next training starts from the pretrained weights again.
    assert all(torch.equal(item, before[name]) for name, item in host.model.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "weights"), [("dwatt", "frozen"), ("deeper", "frozen"), ("mix", "full"), ("last", "lora")]
)
def test_interrupted_training_equals_an_uninterrupted_one_bit_for_bit(
    kind: str,
    weights: HostWeights,
    data: TagData,
    full_data: TagData,
    host: Host,
    tag_recipe: Recipe,
    tmp_path: Path,
) -> None:
    used = data if weights == "frozen" else full_data
    whole = _start(kind, host, tag_recipe, weights=weights)
    wanted = _numbers(list(train_tags(whole, used)))
    state = _start(kind, host, tag_recipe, weights=weights)
    found = _numbers(list(train_tags(state, used, until_step=6)))
    state.save(tmp_path / "state.pt")
    torch.rand(3)  # Another draw of the global generator changes nothing.
    again = TaggingState.load(tmp_path / "state.pt", host=None if weights == "frozen" else host, device="cpu")
    assert (again.step, again.weights, again.shape) == (6, weights, state.shape)
    found += _numbers(list(train_tags(again, used)))
    assert found == wanted
    for ours, theirs in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_adapters_start_as_the_host_and_leave_its_weights(
    data: TagData, full_data: TagData, host: Host, tag_recipe: Recipe
) -> None:
    before = {name: item.clone() for name, item in host.model.state_dict().items()}
    frozen, adapted = _start("last", host, tag_recipe), _start("last", host, tag_recipe, weights="lora")
    ours = evaluate_tags(adapted, full_data.valid, classes=data.classes)
    assert ours.loss == pytest.approx(evaluate_tags(frozen, data.valid, classes=data.classes).loss, abs=2e-3)
    *_, last = train_tags(adapted, full_data)
    assert last.loss < ours.loss
    assert all(torch.equal(item, before[name]) for name, item in host.model.state_dict().items())
    assert adapted.host_model is not None
    adapters = [name for name, item in adapted.host_model.named_parameters() if item.requires_grad]
    assert adapters
    assert all("lora_" in name for name in adapters)
    assert len(adapted.parameters()) == len(adapters) + 2


def test_same_seed_twice_is_the_same_and_the_global_generator_is_left_alone(
    full_data: TagData, host: Host, tag_recipe: Recipe
) -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first = _numbers(list(train_tags(_start("last", host, tag_recipe, weights="full"), full_data)))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(5)
    assert _numbers(list(train_tags(_start("last", host, tag_recipe, weights="full"), full_data))) == first


def test_all_heads_share_the_start_of_the_classifier(host: Host, tag_recipe: Recipe) -> None:
    starts = [_start(kind, host, tag_recipe).head.classifier.weight for kind in HEADS]
    assert all(torch.equal(starts[0], other) for other in starts)


def test_training_reads_its_shots_alone(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    few = data.with_shots([3, 8, 1])
    state = _start("mix", host, dataclasses.replace(tag_recipe, steps=200, learning_rate=0.05))
    *_, last = train_tags(state, few)
    assert last.train_loss < 0.05
    assert last.loss > 10 * last.train_loss


def test_loss_that_is_not_finite_is_the_last_evaluation(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _start("mix", host, tag_recipe)
    with torch.no_grad():
        state.head.classifier.weight.fill_(math.inf)
    (last,) = train_tags(state, data)
    assert (last.diverged, last.score, last.loss, last.step) == (True, None, math.inf, 1)
    assert list(train_tags(state, data)) == []


def test_waiting_for_a_measurement_is_no_training_time(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _start("last", host, tag_recipe)
    list(train_tags(state, data, give_way=lambda: 100.0))
    assert state.train_s < -100.0 * tag_recipe.steps + 60.0


def test_held_out_tags_reads_the_test_part(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _start("last", host, tag_recipe)
    list(train_tags(state, data))
    found = held_out_tags(state, data)
    assert found is not None
    assert [len(tags) for tags in found.tags] == [len(item.words) for item in data.test.sentences]
    empty = dataclasses.replace(data, test=dataclasses.replace(data.test, rows=data.test.rows[:0]))
    assert held_out_tags(state, empty) is None


def test_what_does_not_fit_is_refused_in_one_line(
    data: TagData, full_data: TagData, host: Host, tag_recipe: Recipe
) -> None:
    state = _start("last", host, tag_recipe)
    for faulty, message in (
        (dataclasses.replace(data, host_sha256="1"), "was encoded for another host"),
        (dataclasses.replace(data, classes=("O",)), "the head has 7 classes"),
        (dataclasses.replace(data, max_tokens=64), "recipe.context is 32"),
        (full_data, "holds no states"),
        (data.with_shots([]), "has no training sentence with a tag"),
    ):
        with pytest.raises(ValueError, match=rf"^[^\n]*{message}[^\n]*$"):
            train_tags(state, faulty)
    wide = dataclasses.replace(state.shape, width=8)
    other = TaggingState.start(wide, recipe=tag_recipe, host_sha256=host.sha256, device="cpu")
    with pytest.raises(ValueError, match="the head is for 2 layers of width 8; the states of tiny have 2 of width 16"):
        train_tags(other, data)


def test_numbers_without_a_full_mantissa_are_zero_in_a_step_and_only_there(
    data: TagData, host: Host, tag_recipe: Recipe
) -> None:
    state = _start("mix", host, tag_recipe)
    tiny = torch.tensor([1e-40])
    seen: list[float] = []
    state.head.register_forward_hook(lambda *_: seen.append((tiny * 1.0).item()))
    next(train_tags(state, data))
    assert seen[0] == 0.0, "denormal numbers are slow"
    assert (tiny * 1.0).item() > 0.0
