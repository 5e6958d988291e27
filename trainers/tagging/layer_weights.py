"""What a trained head says about the layers of its host: the weight of each state that it reads.

`mix` and `dwa` have one weight a state, which they learnt: those of `mix` sum to 1, those of `dwa` may be negative or
sum to anything. `dwatt` has weights of each token, and these are means over tokens: over all words, and over the words
of each entity type. `concat` has a matrix a state. Its weight is the share of the matrices' Frobenius norms, the last
one's with the identity that it adds to. `last` and `deeper` read the last state alone and say nothing.

Axes: B sentences, T tokens, S sources, W words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthweave.trainers.optimisation import autocast_for
from depthweave.trainers.tagging.sentence_batches import Rows, evenly_spaced, length_batches
from depthweave.trainers.tagging.sentences import OUTSIDE
from depthweave.trainers.tagging.tag_data import TagPart
from depthweave.trainers.tagging.tag_evaluation import evaluating, logits_of
from depthweave.trainers.tagging.tagging_state import TaggingState
from depthweave.trainers.tagging.word_pieces import NO_LABEL

ALL_WORDS = ""
"""The type of a mean over all words."""

_PASS_TOKENS = 4096


class LayerWeight(NamedTuple):
    """The weight of one state."""

    type: str
    """The entity type of the words that it is a mean over; empty for all words, and where it is the same for all."""
    layer: int
    """0 is the host's embedding, i the output of its layer i."""
    weight: float


def layer_weights(
    state: TaggingState, part: TagPart, *, classes: tuple[str, ...], max_tokens: int | None = None
) -> list[LayerWeight]:
    """Returns the weights of the states that the head reads, by type and layer; of all words first.

    Weights that depend on the token are means over the words of the part, or of evenly spaced sentences of about
    `max_tokens`. A word counts by its first piece and by its gold tag. Types without a word there have none, and no
    head has any where the part has no word. The modes of head and host are as before afterwards.
    """
    if not state.head.reads_earlier or not len(part.trainable_rows):
        return []
    rows = part.trainable_rows
    if max_tokens is not None:
        rows = evenly_spaced(part.encoded.starts, rows, max_tokens=max_tokens)
    weights, labels_W = _observed(state, part, rows)
    sources = state.shape.sources
    if weights.ndim == 1:
        if state.shape.kind == "concat":
            weights = weights / weights.sum()
        return [LayerWeight(ALL_WORDS, layer, float(weight)) for layer, weight in zip(sources, weights, strict=True)]
    type_of = [ALL_WORDS if tag == OUTSIDE else tag.partition("-")[2] for tag in classes]
    types_W = np.array(type_of)[labels_W]
    means = {ALL_WORDS: weights.mean(axis=0)}
    means |= {name: weights[types_W == name].mean(axis=0) for name in sorted(set(types_W) - {ALL_WORDS})}
    return [
        LayerWeight(str(name), layer, float(weight))
        for name, mean_S in means.items()
        for layer, weight in zip(sources, mean_S, strict=True)
    ]


@torch.no_grad()
def _observed(state: TaggingState, part: TagPart, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the weights of all words [W, S] with their labels [W], or those that all words have in common [S]."""
    found: list[NDArray[np.float64]] = []
    labels: list[NDArray[np.int64]] = []
    seen: list[Tensor] = []
    with evaluating(state), autocast_for(state.recipe, device=state.device):
        for batch in length_batches(part.encoded.starts, rows, max_tokens=_PASS_TOKENS):
            logits = logits_of(state, part, batch, observe=lambda site, weights: seen.append(weights))
            weights = seen.pop().cpu().double()
            if weights.ndim == 1:
                return weights.numpy(), np.empty(0, dtype=np.int64)
            tagged_BT = (logits.labels_BT != NO_LABEL).cpu()
            found.append(weights[tagged_BT].numpy())
            labels.append(logits.labels_BT.cpu()[tagged_BT].numpy())
    return np.concatenate(found), np.concatenate(labels)
