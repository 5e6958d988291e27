"""Peak memory of a training step and of a forward pass.

On CUDA it is the peak of the allocator. Elsewhere it is the bytes of all tensors alive at once, counted over a step of
fake tensors: the operations are those of a real step, nothing is computed, and the number repeats exactly. In float32 a
real step gives the same number, and is counted where the model is small. Under bfloat16 autocast fake norms guess the
type of their statistics, and the two differ by less than 1 %. Buffers that a kernel allocates and frees internally are
not counted.

Cost: two training steps of a small model in float32. With fake tensors 0.1 ms an operation, which is 0.3 to 1.1 s for 6
to 12 blocks, whatever the width and the batch.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.spaces.decoder import Decoder
from depthweave.trainers.machine import free_memory, with_precision
from depthweave.trainers.optimisation import TrainingStep, make_optimizer
from depthweave.trainers.recipe import Recipe

_REAL_FLOPS = 1e10
"""A real step of fewer operations is faster than one of fake tensors."""


class PeakMemory(NamedTuple):
    """Most bytes alive at once, weights included."""

    training_step_bytes: int
    """Weights, gradients, optimiser moments, activations and the batch."""
    forward_bytes: int
    """Weights, activations and the batch of a forward pass without gradients."""


def peak_memory(architecture: Architecture, *, recipe: Recipe, device: torch.device) -> PeakMemory:
    """Returns the peak memory of an architecture at the recipe's batch, context and precision.

    A count ignores `recipe.compile`: it is that of uncompiled operations.
    """
    if device.type == "cuda":
        return _allocated_peak(architecture, recipe=recipe, device=device)
    # The backward pass takes twice as many operations as the forward pass.
    step_flops = 3.0 * costs_of(architecture).forward_flops * recipe.batch * recipe.context
    is_float32 = with_precision(recipe, device=device).precision == "float32"
    is_small = is_float32 and step_flops < _REAL_FLOPS
    return counted_peak(architecture, recipe=recipe, fake=not is_small)


def counted_peak(architecture: Architecture, *, recipe: Recipe, fake: bool = True) -> PeakMemory:
    """Returns the peak memory as counted tensor bytes on a CPU; `fake=False` computes real values."""
    eager = dataclasses.replace(recipe, compile=False)
    model = Decoder(architecture)
    fake_mode = FakeTensorMode() if fake else None
    if fake_mode is not None:
        _make_fake(model, fake_mode)
    with fake_mode or nullcontext(), TensorBytes() as alive:
        alive.track([*model.parameters(), *model.buffers()])
        work = _Work(model, recipe=eager)
        work.forward()
        forward_bytes = alive.peak_bytes
        work.make_moments()
        alive.restart_peak()
        work.step()
        return PeakMemory(training_step_bytes=alive.peak_bytes, forward_bytes=forward_bytes)


class TensorBytes(TorchDispatchMode):
    """Counts the bytes of the storages alive within the block, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.alive_bytes = 0
        self.peak_bytes = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def track(self, tensors: Iterable[Tensor]) -> None:
        """Counts tensors that were made earlier; each storage counts once."""
        for tensor in tensors:
            self._add(tensor.untyped_storage())

    def restart_peak(self) -> None:
        """Resets the peak to the present value."""
        self.peak_bytes = self.alive_bytes

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.track(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        num_bytes = storage.nbytes()

        def forget(_: object) -> None:
            del self._known[key]
            self.alive_bytes -= num_bytes

        self._known[key] = weakref.ref(storage, forget)
        self.alive_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.alive_bytes)


class _Work:
    """One model, its optimiser and a batch."""

    def __init__(self, model: Decoder, *, recipe: Recipe) -> None:
        self._model = model
        self._call = torch.compile(model) if recipe.compile else model
        device = model.embedding.weight.device
        self._optimizer = make_optimizer(model, recipe=recipe)
        self._step = TrainingStep(model, optimizer=self._optimizer, recipe=recipe)
        shape = (recipe.batch, recipe.context)
        self._tokens_BT = torch.zeros(shape, dtype=torch.int64, device=device)
        self._targets_BT = torch.zeros(shape, dtype=torch.int64, device=device)
        self._learning_rate = recipe.learning_rate

    @torch.no_grad()
    def forward(self) -> None:
        with self._step.autocast():
            self._call(self._tokens_BT)

    def make_moments(self) -> None:
        """Allocates what the first step leaves behind, so that the next one is like all later ones."""
        for parameter in self._model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        self._step(self._tokens_BT, self._targets_BT, learning_rate=self._learning_rate)


def _make_fake(model: Decoder, mode: FakeTensorMode) -> None:
    """Replaces the parameters and buffers of the model, in place, with fakes of the same shapes and device."""
    for module in model.modules():
        homes: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for tensors in homes:
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = mode.from_tensor(tensor)


def _allocated_peak(architecture: Architecture, *, recipe: Recipe, device: torch.device) -> PeakMemory:
    _make_workspaces(device)
    torch.cuda.synchronize(device)
    free_memory(device)
    before_bytes = torch.cuda.memory_allocated(device)
    work = _Work(Decoder(architecture).to(device), recipe=recipe)
    if recipe.compile:
        # The first pass compiles, as the first step does below.
        work.forward()
        torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    work.forward()
    torch.cuda.synchronize(device)
    forward_bytes = torch.cuda.max_memory_allocated(device) - before_bytes
    work.make_moments()
    if recipe.compile:
        # The first step compiles, and benchmarks kernels with extra memory.
        work.step()
        torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    work.step()
    torch.cuda.synchronize(device)
    return PeakMemory(
        training_step_bytes=torch.cuda.max_memory_allocated(device) - before_bytes,
        forward_bytes=forward_bytes,
    )


def _make_workspaces(device: torch.device) -> None:
    """Allocates the workspaces of the matrix library, tens of megabytes for each thread.

    They stay with the process. Otherwise they would count for the first architecture that it measures and for no other.
    """
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(64, 64, device=device, dtype=dtype, requires_grad=True)
        # A bias selects another function of the library, and the backward pass has its own thread.
        torch.nn.functional.linear(x, x, x[0]).sum().backward()
