"""The weights of layers: by hand, for heads whose parameters are set, and as a slow loop over words."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch

from depthweave.spaces.heads.dwatt import DepthAttentionHead
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.layer_weights import ALL_WORDS, LayerWeight, layer_weights
from depthweave.trainers.tagging.tag_data import TagData
from depthweave.trainers.tagging.tagging_state import TaggingState
from tests.trainers.tagging.tiny_host import shape_of


def _state(kind: str, host: Host, recipe: Recipe, *, full: bool = False) -> TaggingState:
    return TaggingState.start(
        shape_of(kind, host),
        recipe=recipe,
        host_sha256=host.sha256,
        host=host,
        weights="full" if full else "frozen",
        device="cpu",
    )


def _by_type(rows: list[LayerWeight]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        assert row.layer == len(found[row.type])
        found[row.type].append(row.weight)
    return dict(found)


@pytest.mark.parametrize("kind", ["last", "deeper"])
def test_heads_of_the_last_state_say_nothing(kind: str, data: TagData, host: Host, tag_recipe: Recipe) -> None:
    assert layer_weights(_state(kind, host, tag_recipe), data.valid, classes=data.classes) == []


def test_mix_gives_its_shares(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state: Any = _state("mix", host, tag_recipe)
    with torch.no_grad():
        state.head.scalars_S.copy_(torch.tensor([0.1, 0.2, 0.7]).log())
        state.head.gamma.fill_(5.0)  # A factor on all states is no weight of one.
    found = _by_type(layer_weights(state, data.valid, classes=data.classes))
    assert found == {ALL_WORDS: pytest.approx([0.1, 0.2, 0.7])}


def test_dwa_gives_its_own_weights(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state: Any = _state("dwa", host, tag_recipe)
    (weights,) = state.head.connection_parameters()
    with torch.no_grad():
        weights.copy_(torch.tensor([-0.5, 0.25, 1.5]).view_as(weights))
    found = _by_type(layer_weights(state, data.valid, classes=data.classes))
    assert found == {ALL_WORDS: [-0.5, 0.25, 1.5]}


def test_concat_gives_shares_of_norms(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state: Any = _state("concat", host, tag_recipe)
    head = state.head
    with torch.no_grad():
        head.down_SDR.zero_()
        head.up_RD.zero_()
        head.up_RD[0, 0] = 1.0
        head.down_SDR[:, 0, 0] = torch.tensor([3.0, 4.0, 0.0])
    # The maps have the norms 3 and 4; the last state has the identity of 16 features alone, of norm 4.
    found = _by_type(layer_weights(state, data.valid, classes=data.classes))
    assert found == {ALL_WORDS: pytest.approx([3 / 11, 4 / 11, 4 / 11])}


def test_a_fresh_concat_is_the_last_state(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    found = layer_weights(_state("concat", host, tag_recipe), data.valid, classes=data.classes)
    assert [row.weight for row in found] == [0.0, 0.0, 1.0]


def test_dwatt_without_keys_is_even_for_every_type(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _state("dwatt", host, tag_recipe)
    assert isinstance(state.head, DepthAttentionHead)
    with torch.no_grad():
        state.head.site.key_KD.zero_()
    found = _by_type(layer_weights(state, data.valid, classes=data.classes))
    assert list(found) == [ALL_WORDS, "location", "person", "product"]
    assert all(weights == pytest.approx([1 / 3] * 3) for weights in found.values())


@pytest.mark.parametrize("full", [False, True])
def test_dwatt_equals_a_slow_loop_over_words(
    full: bool, data: TagData, full_data: TagData, host: Host, tag_recipe: Recipe
) -> None:
    state = _state("dwatt", host, tag_recipe, full=full)
    assert isinstance(state.head, DepthAttentionHead)
    with torch.no_grad():
        state.head.site.key_KD *= 40.0  # Else all weights are near a third.
    state.head.train()
    found = _by_type(layer_weights(state, (full_data if full else data).valid, classes=data.classes))
    assert state.head.training
    part = data.valid
    assert part.states is not None
    wanted: dict[str, list[torch.Tensor]] = defaultdict(list)
    for number, sentence in enumerate(part.sentences):
        for place in range(*part.encoded.starts[number : number + 2]):
            word = part.encoded.first_piece[place]
            if word < 0:
                continue
            states = part.states.gather([0, 1, 2], np.array([[place]]), device=torch.device("cpu"))
            weights_S = state.head.site(states)[1][0, 0].detach()
            wanted[ALL_WORDS].append(weights_S)
            if sentence.tags[word] != "O":
                wanted[sentence.tags[word][2:]].append(weights_S)
    assert set(found) == set(wanted)
    # The kept states of the loop are in half precision.
    for name, items in wanted.items():
        mean_S = torch.stack(items).mean(dim=0)
        assert found[name] == pytest.approx(mean_S.tolist(), abs=5e-3 if full else 1e-6)
        assert sum(found[name]) == pytest.approx(1.0)
    assert max(found["person"]) > 0.4


def test_a_few_sentences_may_do(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _state("dwatt", host, tag_recipe)
    some = layer_weights(state, data.valid, classes=data.classes, max_tokens=40)
    assert some != layer_weights(state, data.valid, classes=data.classes)
    assert len(some) >= 3


def test_no_sentence_no_weight(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    none = dataclasses.replace(data.valid, rows=np.array([], dtype=np.int64))
    assert layer_weights(_state("dwatt", host, tag_recipe), none, classes=data.classes) == []
