"""What is measured of a head on its host: a forward pass of both, and a training step as the search takes it.

The batch has the recipe's number of sentences, of a usual length: few-shot data has short ones, and the recipe's
context is only a limit. A frozen host takes no part in a training step, because its states are computed once.

Axes: B sentences, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.hosted import HostedArchitecture
from depthweave.trainers.machine import free_memory
from depthweave.trainers.measured_runs import Runs
from depthweave.trainers.memory import PeakMemory, TensorBytes
from depthweave.trainers.optimisation import OptimizerStep, autocast_for
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host, states_of
from depthweave.trainers.tagging.tagging_state import TaggingState

MEASURED_TOKENS = 32
"""Tokens of a measured sentence; those of WNUT-17 have 31 on average. A recipe with a smaller context has that."""


class TaggerKit:
    """Measures heads on one host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def runs(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> Runs:
        """Returns the runs of a head on the host, with random weights."""
        assert isinstance(architecture, HostedArchitecture)
        return TaggerRuns(architecture, host=self._host, recipe=recipe, device=device)

    def memory(self, architecture: Architecture, *, recipe: Recipe, device: torch.device) -> PeakMemory:
        """Returns the most bytes alive at once, weights included: of host and head, for a step of what is trained."""
        runs = TaggerRuns(_checked(architecture), host=self._host, recipe=recipe, device=device)
        count = _allocated_bytes if device.type == "cuda" else _counted_bytes
        forward_bytes = count(runs.forward, runs.forward_tensors(), device)
        runs.make_moments()
        return PeakMemory(
            training_step_bytes=count(runs.step, runs.step_tensors(), device), forward_bytes=forward_bytes
        )


class TaggerRuns:
    """The runs of one head on its host."""

    def __init__(self, architecture: HostedArchitecture, *, host: Host, recipe: Recipe, device: torch.device) -> None:
        weights = architecture.host.weights
        self._state = TaggingState.start(
            architecture.head,
            recipe=recipe,
            host_sha256=host.sha256,
            weights=weights,  # type: ignore[arg-type]
            host=host,
            device=device,
        )
        trained = self._state.host_model
        self._host = host.model.to(device) if trained is None else trained
        self._sources = architecture.head.sources
        self._recipe, self._device = recipe, device
        generator = torch.Generator().manual_seed(0)
        shape = (recipe.batch, min(recipe.context, MEASURED_TOKENS))
        self._ids_BT = torch.randint(architecture.vocabulary, shape, generator=generator).to(device)
        self._labels_BT = torch.randint(architecture.head.classes, shape, generator=generator).to(device)
        self._mask_BT = torch.ones(shape, dtype=torch.bool, device=device)
        self._take_step = OptimizerStep(self._state.parameters(), optimizer=self._state.optimizer, recipe=recipe)
        self._states: list[Tensor] | None = None
        if trained is None:
            with torch.no_grad():
                self._states = self._read()

    @torch.no_grad()
    def forward(self) -> None:
        """Computes the logits of a batch, the host's pass included."""
        with autocast_for(self._recipe, device=self._device):
            self._state.head(self._read(), self._mask_BT)

    def step(self) -> None:
        """Takes a training step; a learning rate of zero does all the work and leaves the weights unchanged."""
        with autocast_for(self._recipe, device=self._device):
            states = self._read() if self._states is None else self._states
            logits_BTC = self._state.head(states, self._mask_BT)
            loss = F.cross_entropy(logits_BTC.float().flatten(0, 1), self._labels_BT.flatten())
        self._take_step(loss, learning_rate=0.0)

    def decode(self) -> None:
        """Raises: a tagger decodes no tokens."""
        raise ValueError("decode_latency has no meaning for the task token_classification: leave it out")

    def make_moments(self) -> None:
        """Allocates what the first step leaves behind, so that the next one is like all later ones."""
        self.step()

    def forward_tensors(self) -> list[Tensor]:
        """Returns what is in memory before a forward pass."""
        return [*self._weights(), *self._host.parameters(), *self._host.buffers(), self._ids_BT, self._mask_BT]

    def step_tensors(self) -> list[Tensor]:
        """Returns what is in memory before a training step."""
        moments = [item for state in self._state.optimizer.state.values() for item in state.values()]
        own = [*self._weights(), *(item for item in moments if isinstance(item, Tensor)), self._mask_BT]
        if self._states is not None:
            return [*own, *self._states]
        return [*own, *self._host.parameters(), *self._host.buffers(), self._ids_BT]

    def _weights(self) -> Iterable[Tensor]:
        return [*self._state.head.parameters(), *self._state.head.buffers()]

    def _read(self) -> list[Tensor]:
        states = states_of(self._host, self._ids_BT, self._mask_BT)
        return [states[source] for source in self._sources]


def _counted_bytes(run: Callable[[], None], held: list[Tensor], device: torch.device) -> int:
    with TensorBytes() as alive:
        alive.track(held)
        run()
        peak_bytes: int = alive.peak_bytes
    return peak_bytes


def _allocated_bytes(run: Callable[[], None], held: list[Tensor], device: torch.device) -> int:
    """Returns the allocator's peak of the run above what was allocated before, and what the run holds."""
    run()
    torch.cuda.synchronize(device)
    free_memory(device)
    before_bytes = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
    peak_bytes: int = torch.cuda.max_memory_allocated(device)
    return peak_bytes - before_bytes + sum(storages.values())


def _checked(architecture: Architecture) -> HostedArchitecture:
    assert isinstance(architecture, HostedArchitecture)
    return architecture
