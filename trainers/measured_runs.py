"""What is measured of an architecture: the runs that are timed, and memory. Every task has a kit that makes them.

Axes: B batch, T tokens, W window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.decoding_cache import DecodingCache
from depthweave.trainers.memory import PeakMemory, peak_memory
from depthweave.trainers.optimisation import TrainingStep, make_optimizer
from depthweave.trainers.recipe import Recipe


class Runs(Protocol):
    """The runs of one architecture that are timed; one that the task does not time may be missing."""

    def forward(self) -> None:
        """Runs a forward pass over a batch."""

    def step(self) -> None:
        """Takes a training step that changes no weight."""

    def decode(self) -> None:
        """Computes one token from a cache."""


class Kit(Protocol):
    """What is measured of the architectures of a task."""

    def runs(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> Runs:
        """Returns the runs of an architecture, with random weights, on a fixed batch."""

    def memory(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> PeakMemory:
        """Returns the peak memory of a training step and of a forward pass."""


class DecoderKit:
    """The kit of decoders."""

    def runs(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> Runs:
        return DecoderRuns(architecture, recipe=recipe, device=device)

    def memory(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> PeakMemory:
        return peak_memory(architecture, recipe=recipe, device=device)


class DecoderRuns:
    """The runs of one architecture that are timed, on a fixed batch of random tokens."""

    def __init__(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> None:
        model = Decoder(architecture).to(device)
        generator = torch.Generator().manual_seed(0)
        shape = (recipe.batch, recipe.context + 1)
        windows_BW = torch.randint(architecture.vocabulary, shape, generator=generator).to(device)
        self._tokens_BT, self._targets_BT = windows_BW[:, :-1], windows_BW[:, 1:]
        self._take_step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)
        self._model: Callable[[torch.Tensor], torch.Tensor] = torch.compile(model) if recipe.compile else model
        self._decoder = model
        """Never compiled: every length of the cache would be a new graph."""
        self._cache: DecodingCache | None = None

    @torch.no_grad()
    def forward(self) -> None:
        with self._take_step.autocast():
            self._model(self._tokens_BT)

    @torch.no_grad()
    def decode(self) -> None:
        last = self._tokens_BT.shape[1] - 1
        with self._take_step.autocast():
            if self._cache is None:
                self._cache = DecodingCache()
                if last:
                    self._decoder(self._tokens_BT[:, :last], cache=self._cache)
            self._cache.num_tokens = last
            self._decoder(self._tokens_BT[:, last:], cache=self._cache)

    def step(self) -> None:
        # A learning rate of zero does all the work and leaves the weights unchanged.
        self._take_step(self._tokens_BT, self._targets_BT, learning_rate=0.0)
