"""One training shared by several processes: each has the whole model and an equal share of every batch.

Gradients are averaged before they are clipped, and losses where they are summed. So all processes take the step that
one process would take with the whole batch, and their weights stay the same bit for bit. The only requirement is the
default group of torch.distributed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from depthweave.spaces.decoder import Decoder
from depthweave.trainers.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
"""Tokens and targets to a mean loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among those that share a training."""

    rank: int = 0
    """Number of the process, from 0."""
    count: int = 1
    """Number of processes; one process sends nothing."""

    def rows(self, batch: int) -> slice:
        """Returns the sequences of a batch that belong to this process."""
        each = batch // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean over the processes, with the same bits in all; in place where there are several."""
        return value if self.count == 1 else self._sum(value).div_(self.count)

    def total(self, value: float) -> float:
        """Returns the sum over the processes. NCCL sends from a GPU only, so the backend decides on the device."""
        if self.count == 1:
            return value
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return self._sum(torch.tensor(value, dtype=torch.float64, device=device)).item()

    def averaging(self, loss: Loss, *, model: Decoder) -> Loss:
        """Returns the loss with a backward pass that averages the gradients over the processes.

        After the call all processes have the weights of the first one. All processes must call it.
        """
        if self.count == 1:
            return loss
        return DistributedDataParallel(_LossOf(model, loss), broadcast_buffers=False, gradient_as_bucket_view=True)

    def _sum(self, value: Tensor) -> Tensor:
        torch.distributed.all_reduce(value)
        return value


SINGLE = Ranks()


def check_shares(recipe: Recipe, *, count: int) -> None:
    """Raises `ValueError` where a batch cannot be divided equally: the mean over shares would differ from its mean."""
    if recipe.batch % count:
        down, up = recipe.batch // count * count, -(-recipe.batch // count) * count
        near = f"{up}" if down == 0 else f"{down} or {up}"
        raise ValueError(
            f"recipe.batch is {recipe.batch}, which {count} workers cannot share equally: use a multiple of {count}, "
            f"such as {near}"
        )


class _LossOf(nn.Module):
    """The loss of a model as the forward pass of a module: DistributedDataParallel averages only those."""

    def __init__(self, model: Decoder, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return self._loss(tokens_BT, targets_BT)
