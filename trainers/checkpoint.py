"""The state of a training and its checkpoint file, from which a training continues bit for bit on a CPU.

`state_file.py` writes and reads the file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.trainers.machine import check_can, check_room_for, pick_device
from depthweave.trainers.optimisation import make_optimizer
from depthweave.trainers.recipe import FIRST_RECIPE, Recipe
from depthweave.trainers.state_file import lacking, read_state, write_state

STATE_FILE = "state.pt"
"""The name of the checkpoint file in the folder of its training."""

_FORMAT = 1
"""Incremented with every change of the content of a checkpoint."""


@dataclass(kw_only=True, slots=True, eq=False)
class TrainingState:
    """A training between two optimiser steps. `train` advances it."""

    architecture: Architecture
    recipe: Recipe
    device: torch.device
    model: Decoder
    optimizer: torch.optim.AdamW
    loss_sum: Tensor
    """Sum of the training losses since the last evaluation, float64, on the device."""
    step: int = 0
    """Optimiser steps taken."""
    num_losses: int = 0
    """Number of losses in `loss_sum`."""
    train_s: float = 0.0
    """Time spent in optimiser steps."""
    evaluation_s: float = 0.0
    """Time spent evaluating."""
    diverged: bool = False
    """Whether a loss was not finite; then the training has ended."""

    @classmethod
    def start(
        cls,
        architecture: Architecture,
        *,
        recipe: Recipe,
        device: str | torch.device = "auto",
        model: Decoder | None = None,
    ) -> TrainingState:
        """Returns a new state with weights drawn from the recipe's seed, or with those of `model`.

        Raises `ValueError` where the device is missing or cannot do what the recipe asks.
        """
        if recipe.context > architecture.context:
            raise ValueError(
                f"recipe.context is {recipe.context}; it must be at most the architecture's, {architecture.context}"
            )
        device = pick_device(device) if isinstance(device, str) else device
        check_can(device, recipe=recipe)
        check_room_for(architecture)
        if model is None:
            model = Decoder(architecture, seed=recipe.seed, initialisation=recipe.initialisation)
        if model.architecture != architecture:
            raise ValueError(f"model has architecture {model.architecture.id}, not {architecture.id}; give one like it")
        model.to(device)
        return cls(
            architecture=architecture,
            recipe=recipe,
            device=device,
            model=model,
            optimizer=make_optimizer(model, recipe=recipe),
            # MPS has no float64.
            loss_sum=torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device),
        )

    def save(self, path: str | Path) -> None:
        """Writes a checkpoint. After the call the file is complete; a crash leaves the previous one."""
        values = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        values |= {
            "format": _FORMAT,
            "architecture": self.architecture.to_dict(),
            "recipe": dataclasses.asdict(self.recipe),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_state(path, values)

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "auto") -> TrainingState:
        """Returns the state in a checkpoint. Raises a one-line `ValueError` where the file holds no state."""
        values = read_state(path, version=_FORMAT)
        try:
            recipe = Recipe(**{**FIRST_RECIPE, **values["recipe"]})
            state = cls.start(Architecture.from_dict(values["architecture"]), recipe=recipe, device=device)
            state.model.load_state_dict(values["model"])
            state.optimizer.load_state_dict(values["optimizer"])
            for name, kind in _PLAIN_FIELDS.items():
                if not isinstance(values[name], kind):
                    raise TypeError(f"{name} is no {kind.__name__}")
                setattr(state, name, values[name])
            state.loss_sum = state.loss_sum.to(state.device)
        except (LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise lacking(path, error) from None
        return state


_PLAIN_FIELDS: dict[str, type] = {
    "loss_sum": torch.Tensor,
    "step": int,
    "num_losses": int,
    "train_s": float,
    "evaluation_s": float,
    "diverged": bool,
}
