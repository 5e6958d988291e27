"""Logits and evaluations: tokens in one line equal padded ones, and an evaluation equals a slow plain loop."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depthweave.spaces.heads import HEADS
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.entity_score import score
from depthweave.trainers.tagging.host import Host, states_of
from depthweave.trainers.tagging.sentences import Sentence, TaggedText
from depthweave.trainers.tagging.tag_data import TagData, tag_data
from depthweave.trainers.tagging.tag_evaluation import evaluate_tags, logits_of
from depthweave.trainers.tagging.tagging_state import TaggingState
from depthweave.trainers.tagging.word_pieces import NO_LABEL
from tests.trainers.tagging.tiny_host import shape_of


def _state(kind: str, host: Host, recipe: Recipe, *, full: bool = False) -> TaggingState:
    state = TaggingState.start(
        shape_of(kind, host),
        recipe=recipe,
        host_sha256=host.sha256,
        host=host,
        weights="full" if full else "frozen",
        device="cpu",
    )
    # A fresh head may read the last state alone.
    with torch.no_grad():
        for parameter in state.head.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    return state


@pytest.mark.parametrize("kind", HEADS)
def test_logits_are_those_of_the_sentence_alone(kind: str, data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _state(kind, host, tag_recipe)
    rows = np.array([3, 0, 11])
    with torch.no_grad():
        found = logits_of(state, data.train, rows)
        ours = found.logits_BTC[found.labels_BT != NO_LABEL]
        wanted, labels = [], []
        for row in rows:
            place = slice(*data.train.encoded.starts[row : row + 2])
            ids = torch.from_numpy(data.train.encoded.ids[place].astype(np.int64))[None]
            mask = torch.ones_like(ids, dtype=torch.bool)
            states = [states_of(host.model, ids, mask)[source] for source in state.shape.sources]
            labels.append(torch.from_numpy(data.train.encoded.labels[place].astype(np.int64)))
            wanted.append(state.head(states, mask)[0][labels[-1] != NO_LABEL])
    # The kept states are in half precision.
    torch.testing.assert_close(ours, torch.cat(wanted), rtol=0.0, atol=0.02)
    assert found.labels_BT[found.labels_BT != NO_LABEL].tolist() == torch.cat(labels)[torch.cat(labels) >= 0].tolist()


@pytest.mark.parametrize("kind", ["dwatt", "deeper"])
def test_frozen_and_full_have_the_same_logits(
    kind: str, data: TagData, full_data: TagData, host: Host, tag_recipe: Recipe
) -> None:
    frozen, full = _state(kind, host, tag_recipe), _state(kind, host, tag_recipe, full=True)
    assert full.host_model is not None
    full.host_model.eval()
    ours = evaluate_tags(frozen, data.valid, classes=data.classes)
    theirs = evaluate_tags(full, full_data.valid, classes=data.classes)
    assert ours.loss == pytest.approx(theirs.loss, abs=2e-3)


def test_evaluate_tags_equals_a_plain_loop(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _state("deeper", host, tag_recipe)
    found = evaluate_tags(state, data.valid, classes=data.classes)
    losses, tags = [], []
    with torch.no_grad():
        for row in range(len(data.valid.sentences)):
            logits = logits_of(state, data.valid, np.array([row]))
            chosen = logits.labels_BT != NO_LABEL
            losses += F.cross_entropy(logits.logits_BTC[chosen], logits.labels_BT[chosen], reduction="none").tolist()
            tags.append(tuple(data.classes[number] for number in logits.logits_BTC[chosen].argmax(-1).tolist()))
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found.tags == tags
    assert found.score == score([item.tags for item in data.valid.sentences], tags)


def test_words_that_were_cut_off_count_as_outside(
    tiny: TaggedText, host: Host, tag_recipe: Recipe, tmp_path: Path
) -> None:
    # Two special tokens leave room for three words, and the place is the fourth.
    long = Sentence(("lives", "in", "in", "london"), ("O", "O", "O", "B-location"))
    lines: list[str] = []
    data = tag_data(dataclasses.replace(tiny, valid=(long,)), host, max_tokens=5, cache=tmp_path, say=lines.append)
    assert any("1 word is cut off" in line for line in lines)
    state = _state("mix", host, dataclasses.replace(tag_recipe, context=5))
    found = evaluate_tags(state, data.valid, classes=data.classes)
    assert len(found.tags[0]) == 4
    assert found.tags[0][3] == "O"
    assert found.score.support == 1
    assert found.score.recall == 0.0
    assert math.isfinite(found.loss)


def test_longer_sentences_than_the_host_reads_are_refused(tiny: TaggedText, host: Host) -> None:
    with pytest.raises(ValueError, match=r"^recipe.context is 33; host tiny-bert reads at most 32 tokens[^\n]*$"):
        tag_data(tiny, host, max_tokens=33)


def test_evaluation_reads_no_more_than_its_tokens(data: TagData, host: Host, tag_recipe: Recipe) -> None:
    state = _state("last", host, tag_recipe)
    part = evaluate_tags(state, data.valid, classes=data.classes, max_tokens=40)
    assert 1 <= len(part.tags) < len(data.valid.sentences)
    whole = evaluate_tags(state, data.valid, classes=data.classes, max_tokens=10_000)
    assert len(whole.tags) == len(data.valid.sentences)
