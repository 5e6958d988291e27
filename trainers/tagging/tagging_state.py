"""The state of the training of a head, with the host where that is trained too, and its checkpoint file.

A training that continues from its file equals an uninterrupted one bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from depthweave.spaces.decoder import ParameterGroups
from depthweave.spaces.heads import Head, HeadShape, make_head
from depthweave.trainers.machine import check_can, pick_device
from depthweave.trainers.optimisation import make_adamw, optimizer_groups
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.state_file import lacking, read_state, write_state
from depthweave.trainers.tagging.adapters import add_lora, merged
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.tag_data import HostWeights

_FORMAT = 1
"""Incremented with every change of the content of a checkpoint."""

HOST_LR_FACTORS: Mapping[HostWeights, float] = {"frozen": 0.0, "full": 0.1, "lora": 1.0}
"""Default factor on the learning rate for the host: pretrained weights take smaller steps than a new head, new adapters
the same."""

TAG_RECIPES: Mapping[HostWeights, Recipe] = {
    weights: Recipe(
        steps=300,
        batch=16,
        context=256,
        learning_rate=1e-3,
        min_lr_frac=0.0,
        warmup_frac=0.1,
        betas=(0.9, 0.999),
        weight_decay=0.01,
        num_evaluations=3,
        evaluation_tokens=65_536,
    )
    for weights in get_args(HostWeights)
}
"""Default recipes: the usual ones of fine-tuning, with a higher learning rate, since the head is new."""

_FROZEN_LR_FACTORS = {"last": 10.0, "deeper": 1.0, "mix": 3.0, "concat": 0.3, "dwatt": 10.0, "dwa": 3.0}


def head_recipe(recipe: Recipe, *, kind: str, weights: HostWeights) -> Recipe:
    """Returns the recipe with the learning rate of a head: on a frozen host each has its own multiple of the recipe's.

    With one rate for all, the rate decides which head is best. The factors are the best of a grid by the dev F1 on
    WNUT-17 with MiniLM (docs/log/few_shot.md). On a host that is trained too they are not known, and are 1.
    """
    factor = _FROZEN_LR_FACTORS.get(kind, 1.0) if weights == "frozen" else 1.0
    return dataclasses.replace(recipe, learning_rate=factor * recipe.learning_rate)


@dataclass(kw_only=True, slots=True, eq=False)
class TaggingState:
    """A training between two optimiser steps. `train_tags` advances it."""

    shape: HeadShape
    recipe: Recipe
    weights: HostWeights
    host_sha256: str
    """Of the host whose states the head reads."""
    host_lr_factor: float
    """Factor on the learning rate for the host's trained weights."""
    device: torch.device
    head: Head
    host_model: nn.Module | None
    """The host that is trained, or whose adapters are: a copy of the pretrained one. Absent for a frozen host."""
    pad_token: int
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
        shape: HeadShape,
        *,
        recipe: Recipe,
        host_sha256: str,
        weights: HostWeights = "frozen",
        host: Host | None = None,
        host_lr_factor: float | None = None,
        device: str | torch.device = "auto",
    ) -> TaggingState:
        """Returns a new state, the head's weights drawn from the recipe's seed.

        `host` is needed unless it is frozen; it is copied. Raises a one-line `ValueError` where it is missing or not
        the one of that hash, where the device cannot do what the recipe asks, and where adapters need a package.
        """
        device = pick_device(device) if isinstance(device, str) else device
        check_can(device, recipe=recipe)
        if recipe.compile:
            raise ValueError("recipe.compile is true; sentences have too many lengths to compile for: use false")
        if weights not in get_args(HostWeights):
            raise ValueError(f"host.weights is {weights!r}; it can be {', '.join(get_args(HostWeights))}")
        factor = HOST_LR_FACTORS[weights] if host_lr_factor is None else host_lr_factor
        host_model, pad_token = None, 0
        if weights != "frozen":
            if host is None or host.sha256 != host_sha256:
                raise ValueError(
                    f"host.weights is {weights}, and the host is missing or another one; give the host itself"
                )
            host_model, pad_token = copy.deepcopy(host.model), host.pad_token
            if weights == "lora":
                add_lora(host_model, seed=recipe.seed)
            host_model.to(device)
        head = make_head(shape, seed=recipe.seed).to(device)
        groups = optimizer_groups(head.parameter_groups(), recipe=recipe)
        if host_model is not None:
            groups += optimizer_groups(_trained_groups(host_model), recipe=recipe, lr_factor=factor)
        return cls(
            shape=shape,
            recipe=recipe,
            weights=weights,
            host_sha256=host_sha256,
            host_lr_factor=factor,
            device=device,
            head=head,
            host_model=host_model,
            pad_token=pad_token,
            optimizer=make_adamw(groups, recipe=recipe),
            # MPS has no float64.
            loss_sum=torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device),
        )

    def parameters(self) -> list[nn.Parameter]:
        """Returns the parameters that are trained."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def trained_host_weights(self) -> dict[str, Tensor]:
        """Returns the trained weights of the host by name; empty for a frozen one."""
        return {} if self.host_model is None else dict(_trained(self.host_model))

    def save(self, path: str | Path) -> None:
        """Writes a checkpoint. After the call the file is complete; a crash leaves the previous one."""
        values = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        values |= {
            "format": _FORMAT,
            "shape": self.shape.to_dict(),
            "recipe": dataclasses.asdict(self.recipe),
            "head": self.head.state_dict(),
            "host": None if self.host_model is None else dict(_trained(self.host_model)),
            "optimizer": self.optimizer.state_dict(),
        }
        write_state(path, values)

    @classmethod
    def load(cls, path: str | Path, *, host: Host | None = None, device: str | torch.device = "auto") -> TaggingState:
        """Returns the state in a checkpoint; `host` is needed unless it is frozen.

        Raises a one-line `ValueError` where the file holds no state, or one on another host.
        """
        values = read_state(path, version=_FORMAT)
        try:
            state = cls.start(
                HeadShape.from_dict(values["shape"]),
                recipe=Recipe(**values["recipe"]),
                host_sha256=values["host_sha256"],
                weights=values["weights"],
                host=host,
                host_lr_factor=values["host_lr_factor"],
                device=device,
            )
            state.head.load_state_dict(values["head"])
            state.load_host_weights(values["host"] or {})
            state.optimizer.load_state_dict(values["optimizer"])
            for name, kind in _PLAIN_FIELDS.items():
                if not isinstance(values[name], kind):
                    raise TypeError(f"{name} is no {kind.__name__}")
                setattr(state, name, values[name])
            state.loss_sum = state.loss_sum.to(state.device)
        except (LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise lacking(path, error) from None
        return state

    def merged_host(self) -> nn.Module | None:
        """Returns the trained host, with its adapters added to its weights; absent for a frozen host."""
        if self.host_model is None or self.weights != "lora":
            return self.host_model
        return merged(self.host_model)

    def load_host_weights(self, values: Mapping[str, Tensor]) -> None:
        """Sets the trained weights of the host; none for a frozen one. Raises `LookupError` for other names."""
        if self.host_model is None:
            if values:
                raise LookupError("the host is frozen and has no trained weights")
            return
        _load_trained(self.host_model, values)


_PLAIN_FIELDS: dict[str, type] = {
    "weights": str,
    "host_sha256": str,
    "host_lr_factor": float,
    "loss_sum": torch.Tensor,
    "step": int,
    "num_losses": int,
    "train_s": float,
    "evaluation_s": float,
    "diverged": bool,
}


def _trained(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yields the trained parameters of a host by name; the others are those of its folder."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter.detach()


@torch.no_grad()
def _load_trained(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    wanted = dict(_trained(model))
    if set(wanted) != set(values):
        raise LookupError("the trained weights of the host are others")
    for name, parameter in wanted.items():
        parameter.copy_(values[name])


def _trained_groups(model: nn.Module) -> ParameterGroups:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return ParameterGroups(
        matrices=[parameter for parameter in trained if parameter.ndim >= 2],
        vectors=[parameter for parameter in trained if parameter.ndim < 2],
        connections=[],
    )
