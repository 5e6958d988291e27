"""Norms of the states of a trained model by depth, and their cosines with the embedding.

Axes: B batch, T tokens, D width.

Source: Pagliardini, Mohtashami, Fleuret, Jaggi, "DenseFormer", arXiv 2402.02622. Its figures weight connections by the
norms of the states that they read, and show the cosine between a block's input and the embedding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from depthweave.spaces.decoder import Decoder


class StateProfile(NamedTuple):
    """Means over tokens."""

    norms: tuple[float, ...]
    """Euclidean norm of each state: the embedding first, then the output of each block."""
    cosines: tuple[float, ...]
    """Cosine of each block's input with the embedding of the same token."""


@torch.no_grad()
def state_profile(model: Decoder, tokens_BT: Tensor) -> StateProfile:
    """Returns the profile over these tokens from one forward pass. The model is unchanged."""
    norms: list[float] = []
    cosines: list[float] = []
    embeddings: list[Tensor] = []

    def after_embedding(_: Any, __: Any, embedding_BTD: Tensor) -> None:
        # A copy: a reader may keep the state in memory that it overwrites.
        embeddings.append(embedding_BTD.float().clone())
        norms.append(_norm(embedding_BTD))

    # A fusion that carries the residual calls a block twice, once a layer, and its states are what blocks add.
    def before_block(_: Any, inputs: tuple[Any, ...]) -> None:
        if inputs[1].part == "feed_forward":
            return
        cosines.append(float(F.cosine_similarity(inputs[0].float(), embeddings[0], dim=-1).mean()))

    def after_block(_: Any, inputs: tuple[Any, ...], output: Tensor | tuple[Tensor, Tensor]) -> None:
        if inputs[1].part != "attention":
            norms.append(_norm(output if isinstance(output, Tensor) else output[0]))

    hooks = [model.embedding.register_forward_hook(after_embedding)]
    for block in model.blocks:
        hooks += [block.register_forward_pre_hook(before_block), block.register_forward_hook(after_block)]
    try:
        model.hidden(tokens_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return StateProfile(tuple(norms), tuple(cosines))


def _norm(state_BTD: Tensor) -> float:
    return float(state_BTD.float().norm(dim=-1).mean())
