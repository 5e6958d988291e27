"""A model with its optimiser and a batch: its timed operations, and how it is compiled.

Axes: B batch, T tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.sizes import Shape
from depthweave.spaces import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.trainers import Recipe, TokenSet
from depthweave.trainers.compiler import make_room_for_graphs
from depthweave.trainers.machine import synchronize
from depthweave.trainers.optimisation import TrainingStep, make_optimizer

Mode = Literal["eager", "by block", "whole"]
"""Nothing compiled; a block and the loss, once for all blocks and models of a shape; the whole loss as one graph."""


class Peak(NamedTuple):
    """Allocator's peaks, bytes; 0 on a CPU."""

    forward_bytes: int
    step_bytes: int


class Work:
    """Forward passes and training steps of one model, in bfloat16 where the device computes in it."""

    def __init__(
        self,
        architecture: Architecture,
        shape: Shape,
        *,
        device: torch.device,
        mode: Mode,
        replace: Callable[[Decoder], None] | None = None,
    ) -> None:
        before_bytes = _allocated(device)
        model = Decoder(architecture)
        if replace is not None:
            replace(model)
        self.model = model.to(device)
        self._device = device
        recipe = Recipe(batch=shape.batch, context=shape.context, compile=mode == "whole")
        if mode == "by block":
            compile_by_block(self.model)
        self._step = TrainingStep(self.model, optimizer=make_optimizer(self.model, recipe=recipe), recipe=recipe)
        self._call = torch.compile(self.model) if mode == "whole" else self.model
        windows_BW = torch.randint(shape.vocabulary, (shape.batch, shape.context + 1)).to(device)
        self._tokens_BT, self._targets_BT = windows_BW[:, :-1], windows_BW[:, 1:]
        self.first_s = self._warm()
        """Seconds of the first pass and the first step: compiling, where something is compiled."""
        self.peak = self._measure_peak(before_bytes)

    @torch.no_grad()
    def forward(self) -> None:
        """A forward pass without gradients."""
        with self._step.autocast():
            self._call(self._tokens_BT)

    def step(self) -> None:
        """A whole training step; at a rate of zero the weights stay."""
        self._step(self._tokens_BT, self._targets_BT, learning_rate=0.0)

    def _warm(self) -> float:
        started = time.perf_counter()
        self.forward()
        self.step()
        synchronize(self._device)
        return time.perf_counter() - started

    def _measure_peak(self, before_bytes: int) -> Peak:
        if self._device.type != "cuda":
            return Peak(0, 0)
        peaks = []
        for run in (self.forward, self.step):
            torch.cuda.reset_peak_memory_stats(self._device)
            run()
            torch.cuda.synchronize(self._device)
            peaks.append(torch.cuda.max_memory_allocated(self._device) - before_bytes)
        return Peak(*peaks)


def compile_by_block(model: Decoder) -> None:
    """Compiles one block for all, and the loss; the fusion between them runs as it is."""
    make_room_for_graphs()
    for block in model.blocks:
        block.compile()
    loss = torch.compile(_loss)

    def by_block(tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        value: Tensor = loss(model.hidden(tokens_BT), model.embedding.weight, targets_BT)
        return value

    model.loss = by_block  # type: ignore[method-assign]


def _loss(hidden_BTD: Tensor, head_VD: Tensor, targets_BT: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden_BTD, head_VD).flatten(0, 1), targets_BT.flatten())


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def random_tokens(shape: Shape, *, count: int) -> TokenSet:
    """A text of so many tokens by chance, a tenth of it for validation."""
    values = np.random.default_rng(0).integers(0, shape.vocabulary, count, dtype=np.uint16)
    return TokenSet(
        train=values[count // 10 :],
        valid=values[: count // 10],
        token_bytes=np.ones(shape.vocabulary, dtype=np.uint16),
        vocabulary=shape.vocabulary,
        tokenizer="random",
        tokenizer_json=None,
        corpus="random tokens",
        corpus_sha256="",
    )
