"""Trials of few-shot tagging: draws, sizes, what is recorded, and resuming."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from depthweave.spaces.hosted import HostedArchitecture, hosted
from depthweave.trainers.device_lock import UNSHARED
from depthweave.trainers.evaluation import Evaluation
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.few_shot_data import FewShotData, encode_text, host_shape
from depthweave.trainers.tagging.few_shot_spec import FewShot, HostSpec, training_seed
from depthweave.trainers.tagging.few_shot_state import FewShotState
from depthweave.trainers.tagging.few_shot_training import train_few_shot
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.sentences import TaggedText
from depthweave.trainers.tagging.shots import draw_shots
from depthweave.trainers.tagging.tag_data import HostWeights
from depthweave.trainers.tagging.tag_training import held_out_tags, train_tags
from depthweave.trainers.tagging.tagging_state import TaggingState, head_recipe
from tests.trainers.tagging.tiny_host import shape_of


def few_shot_of(folder: Path, **changes: Any) -> FewShot:
    return FewShot(**{"host": HostSpec(path=str(folder)), "shots": (10, 30), "draws": 2, **changes})


def architecture_of(kind: str, host: Host, *, weights: HostWeights = "frozen") -> HostedArchitecture:
    return hosted(shape_of(kind, host), host=host_shape(host, weights=weights), context=32)


@pytest.fixture(scope="module")
def few_shot(bert_folder: Path) -> FewShot:
    return few_shot_of(bert_folder)


@pytest.fixture(scope="module")
def tags(tiny: TaggedText, few_shot: FewShot, tmp_path_factory: pytest.TempPathFactory) -> FewShotData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        recipe = Recipe(context=32, evaluation_tokens=4096)
        return encode_text(tiny, few_shot, recipe=recipe, device="cpu", say=lambda line: None)


def train(state: FewShotState, data: FewShotData, few_shot: FewShot, host: Host | None = None) -> list[Evaluation]:
    return list(train_few_shot(state, data, few_shot=few_shot, host=host, give_way=UNSHARED.give_way))


def trained(
    kind: str, data: FewShotData, few_shot: FewShot, host: Host, recipe: Recipe
) -> tuple[FewShotState, list[Evaluation]]:
    state = FewShotState.start(architecture_of(kind, host), recipe=recipe, device="cpu")
    return state, train(state, data, few_shot)


def test_evaluation_follows_each_draw_with_the_mean_error_so_far(
    tags: FewShotData, few_shot: FewShot, host: Host, tag_recipe: Recipe
) -> None:
    state, evaluations = trained("dwa", tags.without_test(), few_shot, host, tag_recipe)
    assert [(it.index, it.step, it.diverged) for it in evaluations] == [(0, 24, False), (1, 48, False)]
    rows = state.entity_scores
    assert [(it["shots"], it["draw"], it["step"]) for it in rows] == [
        (shots, draw, step) for draw in (0, 1) for shots in (10, 30) for step in (4, 8, 12)
    ]
    last = [it["f1"] for it in rows if it["step"] == 12]
    assert evaluations[0].loss == pytest.approx(1 - fmean(last[:2]))
    assert evaluations[1].loss == pytest.approx(1 - fmean(last))
    assert evaluations[1].columns["f1"] == pytest.approx(fmean(last))
    assert evaluations[1].columns["entity_scores"] == rows
    assert fmean(evaluations[1].text_losses) == pytest.approx(evaluations[1].loss)
    assert evaluations[1].tokens == 48 * tag_recipe.tokens_per_step
    assert {it["type"] for it in state.type_scores} <= {"location", "person", "product"}
    assert state.test_f1 == []


def test_each_training_is_that_of_its_seed_and_draw(
    tags: FewShotData, few_shot: FewShot, host: Host, tag_recipe: Recipe
) -> None:
    state, _ = trained("concat", tags.without_test(), few_shot, host, tag_recipe)
    seed = training_seed(tag_recipe.seed, 1)
    alone = TaggingState.start(
        shape_of("concat", host),
        recipe=head_recipe(dataclasses.replace(tag_recipe, seed=seed), kind="concat", weights="frozen"),
        host_sha256=host.sha256,
        device="cpu",
    )
    drawn = tags.data.with_shots(draw_shots(tags.data.train.sentences, 30, seed=seed))
    scores = [it.score.f1 for it in train_tags(alone, drawn) if it.score is not None]
    assert [it["f1"] for it in state.entity_scores if (it["shots"], it["draw"]) == (30, 1)] == scores


def test_trial_that_continues_from_its_file_equals_an_uninterrupted_one(
    tags: FewShotData, few_shot: FewShot, host: Host, tag_recipe: Recipe, tmp_path: Path
) -> None:
    whole, evaluations = trained("dwatt", tags.without_test(), few_shot, host, tag_recipe)
    state = FewShotState.start(architecture_of("dwatt", host), recipe=tag_recipe, device="cpu")
    first = next(train_few_shot(state, tags.without_test(), few_shot=few_shot, host=None, give_way=UNSHARED.give_way))
    state.save(tmp_path / "state.pt")
    resumed = FewShotState.load(tmp_path / "state.pt", device="cpu")
    assert resumed.architecture == state.architecture
    (second,) = train(resumed, tags.without_test(), few_shot)
    assert [first.loss, second.loss] == [it.loss for it in evaluations]
    assert second.columns == evaluations[1].columns
    assert second.text_losses == evaluations[1].text_losses
    assert whole.kept is not None
    assert resumed.kept is not None
    for name, tensor in whole.kept.head.items():
        assert torch.equal(tensor, resumed.kept.head[name])


def test_kept_head_is_the_best_of_the_largest_size(
    tags: FewShotData, few_shot: FewShot, host: Host, tag_recipe: Recipe, tmp_path: Path
) -> None:
    state, _ = trained("mix", tags.without_test(), few_shot, host, tag_recipe)
    last = {it["draw"]: it["f1"] for it in state.entity_scores if (it["shots"], it["step"]) == (30, 12)}
    assert state.kept is not None
    assert (state.kept.shots, state.kept.f1) == (30, max(last.values()))
    state.save_weights(tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "model.safetensors")
    assert set(weights) == {f"head.{name}" for name in state.kept.head}
    assert (tmp_path / "model.safetensors.sha256").exists()


def test_test_part_is_read_only_where_the_data_has_one(
    tags: FewShotData, host: Host, bert_folder: Path, tag_recipe: Recipe
) -> None:
    one = few_shot_of(bert_folder, shots=(30,), draws=1)
    state, _ = trained("last", tags, one, host, tag_recipe)
    seed = training_seed(tag_recipe.seed, 0)
    recipe = head_recipe(dataclasses.replace(tag_recipe, seed=seed), kind="last", weights="frozen")
    alone = TaggingState.start(shape_of("last", host), recipe=recipe, host_sha256=host.sha256)
    list(train_tags(alone, tags.data.with_shots(draw_shots(tags.data.train.sentences, 30, seed=seed))))
    expected = held_out_tags(alone, tags.data)
    assert expected is not None
    assert state.test_f1 == [expected.score.f1]


def test_training_that_diverges_ends_the_trial(
    tags: FewShotData, few_shot: FewShot, host: Host, tag_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tag_recipe, learning_rate=1e30, grad_clip=None)
    state, (evaluation,) = trained("last", tags.without_test(), few_shot, host, recipe)
    assert evaluation.diverged
    assert math.isinf(evaluation.loss)
    assert evaluation.columns == {}
    state.save(tmp_path / "state.pt")
    assert train(FewShotState.load(tmp_path / "state.pt", device="cpu"), tags, few_shot) == []


def test_host_that_is_trained_keeps_its_weights(
    tiny: TaggedText, host: Host, bert_folder: Path, tag_recipe: Recipe, tmp_path: Path
) -> None:
    few_shot = few_shot_of(bert_folder, host=HostSpec(path=str(bert_folder), weights="full"), shots=(10,), draws=1)
    data = encode_text(tiny, few_shot, recipe=tag_recipe, device="cpu", say=lambda line: None)
    state = FewShotState.start(architecture_of("last", host, weights="full"), recipe=tag_recipe, device="cpu")
    train(state, data.without_test(), few_shot, host)
    state.save_weights(tmp_path / "model.safetensors")
    names = {name for name in load_file(tmp_path / "model.safetensors") if name.startswith("host.")}
    assert names == {f"host.{name}" for name, item in host.model.named_parameters() if item.requires_grad}


def test_state_of_a_decoder_is_refused(tag_recipe: Recipe) -> None:
    from depthweave.spaces.architecture import Architecture
    from depthweave.spaces.wiring import Wiring

    decoder = Architecture(fusion="none", wiring=Wiring(2), width=16, heads=2, feed_forward=32, vocabulary=9, context=8)
    with pytest.raises(ValueError, match="is a decoder; the task token_classification needs heads"):
        FewShotState.start(decoder, recipe=tag_recipe, device="cpu")


def test_seeds_of_trials_share_no_draw() -> None:
    seeds = [training_seed(seed, draw) for seed in range(5) for draw in range(1000)]
    assert len(set(seeds)) == len(seeds)
