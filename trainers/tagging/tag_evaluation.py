"""Logits of sentences under a head, and what follows from them: loss, tags and the score of entities.

Axes: B sentences, T tokens, C classes, D width.

On a frozen host a head without blocks of its own treats each token by itself. It then sees the tagged tokens alone, in
one line without padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from depthweave.spaces.fusions import Observe
from depthweave.trainers.tagging.entity_score import EntityScore, score
from depthweave.trainers.tagging.few_shot_parts import part_errors
from depthweave.trainers.tagging.host import states_of
from depthweave.trainers.tagging.sentence_batches import Places, Rows, evenly_spaced, length_batches, packed, padded
from depthweave.trainers.tagging.tag_data import TagPart
from depthweave.trainers.tagging.tagging_state import TaggingState
from depthweave.trainers.tagging.word_pieces import NO_LABEL

_PASS_TOKENS = 4096
"""Tokens of a batch of an evaluation, padding included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TagEvaluation:
    """A head's loss and score on the validation part after some steps."""

    index: int
    """Number of the evaluation in its training, from 0."""
    step: int
    """Optimiser steps taken."""
    loss: float
    """Mean negative log-likelihood of the tags, nats a word; infinite where the training diverged."""
    train_loss: float
    """Mean training loss since the last evaluation, in the same unit; not finite where the training diverged."""
    score: EntityScore | None
    """Absent where the training diverged."""
    train_s: float
    """Time spent in optimiser steps so far."""
    evaluation_s: float
    """Time spent evaluating so far."""
    diverged: bool
    """Whether a loss was not finite; then this is the last evaluation."""
    part_errors: tuple[float, ...] = ()
    """1 - F1 on each part of the text; empty where there is no entity, or the training diverged."""


class TagResult(NamedTuple):
    """What a head says about sentences."""

    loss: float
    """Nats a word, over the words that were not cut off."""
    score: EntityScore
    tags: list[tuple[str, ...]]
    """IOB2 tags of each word of each sentence; `O` for words that were cut off."""
    part_errors: tuple[float, ...] = ()
    """1 - F1 on each part of the text (`few_shot_parts`)."""


class Logits(NamedTuple):
    """Logits of tokens, their labels (`NO_LABEL` without a tag), and where the tokens are."""

    logits_BTC: Tensor
    labels_BT: Tensor
    places: Places

    def loss(self) -> Tensor:
        """Returns the mean loss of the tagged tokens, in float32."""
        return F.cross_entropy(self.logits_BTC.float().flatten(0, 1), self.labels_BT.flatten(), ignore_index=NO_LABEL)


def logits_of(state: TaggingState, part: TagPart, rows: Rows, *, observe: Observe | None = None) -> Logits:
    """Returns the logits of these sentences of the part. `observe` gets the weights of the head's sources."""
    encoded, device = part.encoded, state.device
    if state.host_model is None and state.shape.blocks == 0:
        places = packed(encoded.starts, rows, wanted=part.labelled)
    else:
        places = padded(encoded.starts, rows)
    positions_BT, mask_BT = places
    labels_BT = np.where(mask_BT, encoded.labels[positions_BT], NO_LABEL).astype(np.int64)
    mask = torch.from_numpy(mask_BT).to(device)
    if state.host_model is None:
        assert part.states is not None
        states = part.states.gather(state.shape.sources, positions_BT, device=device)
    else:
        ids_BT = np.where(mask_BT, encoded.ids[positions_BT], state.pad_token).astype(np.int64)
        every_state = states_of(state.host_model, torch.from_numpy(ids_BT).to(device), mask)
        states = [every_state[source] for source in state.shape.sources]
    return Logits(state.head(states, mask, observe=observe), torch.from_numpy(labels_BT).to(device), places)


@contextmanager
def evaluating(state: TaggingState) -> Iterator[None]:
    """Sets head and host to evaluation mode, and back to their own modes afterwards."""
    modules = [module for module in (state.head, state.host_model) if module is not None]
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)


@torch.no_grad()
def evaluate_tags(
    state: TaggingState, part: TagPart, *, classes: tuple[str, ...], max_tokens: int | None = None
) -> TagResult:
    """Returns loss, score and tags of the used sentences of a part, or of evenly spaced ones up to `max_tokens`.

    The modes of head and host are as before afterwards.
    """
    rows = part.rows if max_tokens is None else evenly_spaced(part.encoded.starts, part.rows, max_tokens=max_tokens)
    predicted = np.zeros(len(part.encoded.ids), dtype=np.int64)
    nats, num = 0.0, 0
    with evaluating(state):
        for batch in length_batches(part.encoded.starts, rows, max_tokens=_PASS_TOKENS):
            found = logits_of(state, part, batch)
            tagged_BT = found.labels_BT != NO_LABEL
            labels = found.labels_BT[tagged_BT]
            logits = found.logits_BTC[tagged_BT].float()
            nats += F.cross_entropy(logits, labels, reduction="sum").item()
            num += len(labels)
            predicted[found.places.positions_BT[tagged_BT.cpu().numpy()]] = logits.argmax(dim=-1).cpu().numpy()
    every_sentence = part.encoded.decode(predicted, classes=classes)
    tags = [every_sentence[row] for row in rows.tolist()]
    gold = [part.sentences[row].tags for row in rows.tolist()]
    return TagResult(nats / num if num else math.nan, score(gold, tags), tags, part_errors(gold, tags))
