"""Drives a fusion by hand, without a decoder, whatever its reader's kind.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor

from depthweave.spaces.fusions import BlockInputs, Carrier, Fusion, Observe, Reader, ValueReader


def drive(fusion: Fusion, states: list[Tensor], *, observe: Observe | None = None) -> list[Tensor]:
    """Returns all inputs [B, T, D] that a pass gives, in order, from given states 0 to depth.

    A fusion that carries the residual gets the states of blocks as what their feed-forward layers add, and each state
    reversed in its width as what the attention adds.
    """
    reader = fusion.open(observe=observe)
    return [found for block, state in enumerate(states) for found in step(fusion, reader, block, state)]


def step(fusion: Fusion, reader: Reader, block: int, state_BTD: Tensor) -> list[Tensor]:
    """Returns the inputs that follow from the output of one block."""
    found: list[Tensor] = []
    if block and fusion.carries_residual:
        found.append(cast(Carrier, reader).between(block, state_BTD.flip(-1)))
    if block and block == fusion.value_source:
        cast(ValueReader, reader).keep_value(value_of(state_BTD))
    inputs = reader.advance(block, state_BTD)
    return [*found, *([inputs] if isinstance(inputs, Tensor) else _tensors(inputs))]


def value_of(state_BTD: Tensor) -> Tensor:
    """Returns values [B, 1, T, D] of a block with one head, made of its output."""
    return state_BTD.flip(-1)[:, None]


def _tensors(inputs: BlockInputs) -> list[Tensor]:
    found = list(dict.fromkeys([inputs.residual_BTD, inputs.query_BTD, inputs.key_BTD, inputs.value_BTD]))
    if inputs.first_value_BHTK is not None:
        assert inputs.value_share is not None
        value_BHTK = value_of(inputs.value_BTD)
        found.append((value_BHTK + inputs.value_share * (inputs.first_value_BHTK - value_BHTK))[:, 0])
    return found
