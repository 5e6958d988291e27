"""One optimiser step: loss, backward pass, clipping, AdamW. All trainings, measuring and counting memory use it.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from depthweave.spaces.decoder import Decoder, ParameterGroups
from depthweave.trainers.compiler import make_room_for_graphs
from depthweave.trainers.machine import allow_tf32, with_precision
from depthweave.trainers.ranks import SINGLE, Loss, Ranks
from depthweave.trainers.recipe import Recipe


def make_optimizer(model: Decoder, *, recipe: Recipe) -> torch.optim.AdamW:
    """Returns AdamW over the model's parameter groups: decay on matrices alone, a factor for connection weights."""
    return make_adamw(optimizer_groups(model.parameter_groups(), recipe=recipe), recipe=recipe)


def optimizer_groups(groups: ParameterGroups, *, recipe: Recipe, lr_factor: float = 1.0) -> list[dict[str, Any]]:
    """Returns groups for AdamW: decay on matrices alone, and `lr_factor` on the learning rate of all."""
    described: list[dict[str, Any]] = [
        {"params": groups.matrices, "weight_decay": recipe.weight_decay, "lr_factor": lr_factor},
        {"params": groups.vectors, "weight_decay": 0.0, "lr_factor": lr_factor},
        {
            "params": groups.connections,
            "weight_decay": 0.0,
            "lr_factor": lr_factor * recipe.connection_lr_factor,
        },
    ]
    return [group for group in described if group["params"]]


def make_adamw(groups: list[dict[str, Any]], *, recipe: Recipe) -> torch.optim.AdamW:
    """Returns AdamW over the groups of `optimizer_groups`."""
    return torch.optim.AdamW(
        groups,
        lr=recipe.learning_rate,
        betas=recipe.betas,
        # The fused kernel took 1.3 ms a step on one CPU core and the others 3.3 ms (12 blocks, width 64).
        fused=True,
    )


def autocast_for(recipe: Recipe, *, device: torch.device) -> torch.autocast:
    """Returns a context with the recipe's precision."""
    is_bfloat16 = with_precision(recipe, device=device).precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bfloat16)


class OptimizerStep:
    """Turns losses into steps of AdamW by one recipe; the model and the batches are the caller's."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, optimizer: torch.optim.AdamW, recipe: Recipe) -> None:
        self._optimizer = optimizer
        self._grad_clip = recipe.grad_clip
        self._parameters = list(parameters)
        allow_tf32(self._parameters[0].device)

    def __call__(self, loss: Tensor, *, learning_rate: float) -> None:
        """Takes one step down this loss. No gradient is kept."""
        loss.backward()
        if self._grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._grad_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate * group["lr_factor"]
        self._optimizer.step()
        # Now, so that the memory peak of the next forward pass includes no gradients.
        self._optimizer.zero_grad(set_to_none=True)


class TrainingStep:
    """Takes optimiser steps with one model, by one recipe, on the device of the model.

    Where several processes share the training, each passes its share of the batch.
    """

    def __init__(self, model: Decoder, *, optimizer: torch.optim.AdamW, recipe: Recipe, ranks: Ranks = SINGLE) -> None:
        self._step = OptimizerStep(model.parameters(), optimizer=optimizer, recipe=recipe)
        self._device = next(model.parameters()).device
        # `auto` is resolved once: on a GPU it asks the driver.
        self._recipe = with_precision(recipe, device=self._device)
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
        return autocast_for(self._recipe, device=self._device)

    def __call__(self, tokens_BT: Tensor, targets_BT: Tensor, *, learning_rate: float) -> Tensor:
        """Takes one step and returns the detached loss of the whole batch before it. No gradient is kept."""
        with self.autocast():
            loss = self._shared_loss(tokens_BT, targets_BT)
        self._step(loss, learning_rate=learning_rate)
        return self._ranks.mean(loss.detach())
