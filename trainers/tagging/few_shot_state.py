"""The state of a trial of few-shot tagging between two draws, and its checkpoint file.

A draw is trained as a whole, at all sizes. So the state holds results, and the weights of one head alone: the one with
the best validation F1 at the largest size, which is kept when the trial ends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.files import save_weights
from depthweave.spaces.hosted import HostedArchitecture, architecture_from_dict
from depthweave.trainers.machine import check_can, pick_device
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.state_file import lacking, read_state, write_state
from depthweave.trainers.tagging.tagging_state import TaggingState

_FORMAT = 1
"""Incremented with every change of the content of a checkpoint."""
Rows = list[dict[str, Any]]
"""Rows of a list column of a record, plain values."""


@dataclass(kw_only=True, slots=True)
class KeptHead:
    """The weights of a trained head and, where that is trained too, of its host."""

    shots: int
    draw: int
    f1: float
    """On the validation part."""
    head: Mapping[str, Tensor]
    host: Mapping[str, Tensor]
    """Trained weights alone; empty for a frozen host."""


@dataclass(kw_only=True, slots=True, eq=False)
class FewShotState:
    """A trial between two draws. `train_few_shot` advances it."""

    architecture: HostedArchitecture
    recipe: Recipe
    """That of each training; its seed is the trial's."""
    device: torch.device
    num_draws: int = 0
    """Draws that are trained."""
    step: int = 0
    """Optimiser steps of all trainings."""
    diverged: bool = False
    train_s: float = 0.0
    evaluation_s: float = 0.0
    train_losses: list[float] = field(default_factory=list)
    """The last training loss of each training, nats a word."""
    entity_scores: Rows = field(default_factory=list)
    """The scores of every evaluation of every training."""
    type_scores: Rows = field(default_factory=list)
    """The scores of each type at the end of every training."""
    layer_weights: Rows = field(default_factory=list)
    """The weights of the layers at the end of every training."""
    text_errors: list[list[float]] = field(default_factory=list)
    """The error on each part of the validation text at the end of every training (`few_shot_parts`)."""
    test_f1: list[float] = field(default_factory=list)
    """F1 on the test part at the end of every training; empty in a search, whose data has no such part."""
    kept: KeptHead | None = None

    @classmethod
    def start(cls, architecture: Architecture, *, recipe: Recipe, device: str) -> FewShotState:
        """Returns a state without a draw. Raises a one-line `ValueError` where the device cannot do the recipe."""
        if not isinstance(architecture, HostedArchitecture):
            raise ValueError(f"architecture {architecture.id} is a decoder; the task token_classification needs heads")
        place = pick_device(device)
        check_can(place, recipe=recipe)
        return cls(architecture=architecture, recipe=recipe, device=place)

    def offer(self, trained: TaggingState, *, shots: int, draw: int, f1: float) -> None:
        """Keeps the weights of this head if it is better than the kept one, or was trained on more shots."""
        if self.kept is not None and (self.kept.shots, self.kept.f1) >= (shots, f1):
            return
        self.kept = KeptHead(
            shots=shots,
            draw=draw,
            f1=f1,
            head={name: _copy(tensor) for name, tensor in trained.head.state_dict().items()},
            host={name: _copy(tensor) for name, tensor in trained.trained_host_weights().items()},
        )

    def save(self, path: str | Path) -> None:
        """Writes a checkpoint. After the call the file is complete; a crash leaves the previous one."""
        values = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        values |= {
            "format": _FORMAT,
            "architecture": self.architecture.to_dict(),
            "recipe": dataclasses.asdict(self.recipe),
            "kept": None if self.kept is None else {name: getattr(self.kept, name) for name in _KEPT_FIELDS},
        }
        write_state(path, values)

    @classmethod
    def load(cls, path: str | Path, *, device: str) -> FewShotState:
        """Returns the state in a checkpoint. Raises a one-line `ValueError` where the file holds none."""
        values = read_state(path, version=_FORMAT)
        try:
            state = cls.start(
                architecture_from_dict(values["architecture"]), recipe=Recipe(**values["recipe"]), device=device
            )
            for name, kind in _PLAIN_FIELDS.items():
                if not isinstance(values[name], kind):
                    raise TypeError(f"{name} is no {kind.__name__}")
                setattr(state, name, values[name])
            kept = values["kept"]
            state.kept = None if kept is None else KeptHead(**{name: kept[name] for name in _KEPT_FIELDS})
        except (LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise lacking(path, error) from None
        return state

    def save_weights(self, path: Path) -> None:
        """Writes the kept head's weights as `head.NAME`, and trained ones of the host as `host.NAME`."""
        if self.kept is None:
            raise ValueError("no draw is trained yet, so there are no weights to write; train first")
        tensors = {f"head.{name}": tensor for name, tensor in self.kept.head.items()}
        tensors |= {f"host.{name}": tensor for name, tensor in self.kept.host.items()}
        save_weights(path, tensors, architecture_id=self.architecture.id, with_checksum=True)


_PLAIN_FIELDS: dict[str, type] = {
    "num_draws": int,
    "step": int,
    "diverged": bool,
    "train_s": float,
    "evaluation_s": float,
    "train_losses": list,
    "entity_scores": list,
    "type_scores": list,
    "layer_weights": list,
    "text_errors": list,
    "test_f1": list,
}
_KEPT_FIELDS = ("shots", "draw", "f1", "head", "host")


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
