"""One optimiser step: loss, backward pass, clipping, AdamW. Training, measuring and counting memory all use it.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from depthweave.spaces.decoder import Decoder
from depthweave.trainers.compiler import make_room_for_graphs
from depthweave.trainers.machine import allow_tf32, with_precision
from depthweave.trainers.ranks import SINGLE, Loss, Ranks
from depthweave.trainers.recipe import Recipe


def make_optimizer(model: Decoder, *, recipe: Recipe) -> torch.optim.AdamW:
    """Returns AdamW over the model's parameter groups: decay on matrices alone, a factor for connection weights."""
    groups = model.parameter_groups()
    described: list[dict[str, Any]] = [
        {"params": groups.matrices, "weight_decay": recipe.weight_decay, "lr_factor": 1.0},
        {"params": groups.vectors, "weight_decay": 0.0, "lr_factor": 1.0},
        {"params": groups.connections, "weight_decay": 0.0, "lr_factor": recipe.connection_lr_factor},
    ]
    return torch.optim.AdamW(
        [group for group in described if group["params"]],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        # The fused kernel took 1.3 ms a step on one CPU core and the others 3.3 ms (12 blocks, width 64).
        fused=True,
    )


class TrainingStep:
    """Takes optimiser steps with one model, by one recipe, on the device of the model.

    Where several processes share the training, each passes its share of the batch.
    """

    def __init__(self, model: Decoder, *, optimizer: torch.optim.AdamW, recipe: Recipe, ranks: Ranks = SINGLE) -> None:
        self._optimizer = optimizer
        self._recipe = recipe
        self._parameters = list(model.parameters())
        device = self._parameters[0].device
        self._device_type = device.type
        self._bfloat16 = with_precision(recipe, device=device).precision == "bfloat16"
        allow_tf32(device)
        if recipe.compile:
            make_room_for_graphs()
        self._model_loss: Loss = torch.compile(model.loss) if recipe.compile else model.loss
        self._ranks = ranks
        self._shared_loss = ranks.averaging(self._model_loss, model=model)

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Returns the mean loss in nats a token, computed in the recipe's precision."""
        with self.autocast():
            return self._model_loss(tokens_BT, targets_BT)

    def autocast(self) -> torch.autocast:
        """Returns a context with the recipe's precision."""
        return torch.autocast(self._device_type, torch.bfloat16, enabled=self._bfloat16)

    def __call__(self, tokens_BT: Tensor, targets_BT: Tensor, *, learning_rate: float) -> Tensor:
        """Takes one step and returns the detached loss of the whole batch before it. No gradient is kept."""
        with self.autocast():
            loss = self._shared_loss(tokens_BT, targets_BT)
        loss.backward()
        if self._recipe.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.grad_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate * group["lr_factor"]
        self._optimizer.step()
        # Now, so that the memory peak of the next forward pass includes no gradients.
        self._optimizer.zero_grad(set_to_none=True)
        return self._ranks.mean(loss.detach())
