"""One training shared by several processes: each has the whole model and an equal share of every batch.

Gradients are averaged before they are clipped, losses where they are counted, so that all processes take the step that
one process would take with the whole batch, and their weights stay the same bit for bit. Who started the processes is
not known here: what is needed is torch.distributed's default group.
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
    """Its number, from 0."""
    count: int = 1
    """How many there are; with one nothing is sent."""

    def rows(self, batch: int) -> slice:
        """This process's sequences of a batch."""
        each = batch // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes, the same bits in all of them; in place where there are several."""
        return value if self.count == 1 else self._sum(value).div_(self.count)

    def total(self, value: float) -> float:
        """The sum over the processes; the device is the group's own affair, for NCCL sends from a GPU alone."""
        if self.count == 1:
            return value
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return self._sum(torch.tensor(value, dtype=torch.float64, device=device)).item()

    def averaging(self, loss: Loss, *, model: Decoder) -> Loss:
        """The loss, whose backward pass leaves the processes' mean gradients in the model's parameters.

        Weights are those of the first process after the call. All processes must call it.
        """
        if self.count == 1:
            return loss
        return DistributedDataParallel(_LossOf(model, loss), broadcast_buffers=False, gradient_as_bucket_view=True)

    def _sum(self, value: Tensor) -> Tensor:
        torch.distributed.all_reduce(value)
        return value


ALONE = Ranks()


def check_shares(recipe: Recipe, *, count: int) -> None:
    """Raises `ValueError` where a batch has no equal shares for so many processes: their mean would be another."""
    if recipe.batch % count:
        down, up = recipe.batch // count * count, -(-recipe.batch // count) * count
        near = f"{up}" if down == 0 else f"{down} or {up}"
        raise ValueError(
            f"recipe.batch is {recipe.batch}, which {count} workers cannot share equally: use a multiple of {count}, "
            f"such as {near}"
        )


class _LossOf(nn.Module):
    """A model's loss as a module's forward pass, which is all that torch's averaging looks at."""

    def __init__(self, model: Decoder, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return self._loss(tokens_BT, targets_BT)
